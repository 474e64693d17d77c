# SPDX-License-Identifier: MIT
"""Defaults and derived values, with solo-learn's meaning."""

from __future__ import annotations

from typing import Any

import pytest
from omegaconf import DictConfig, OmegaConf

from mixmask_solo.config import ConfigError, resolve_linear, resolve_pretrain


def config(**changes: Any) -> DictConfig:
    base: dict[str, Any] = {
        "method": "byol",
        "backbone": {"name": "resnet18"},
        "method_kwargs": {"proj_hidden_dim": 8, "proj_output_dim": 4, "pred_hidden_dim": 8},
        "data": {"dataset": "cifar10", "train_path": "x", "val_path": "x"},
        "augmentations": [{"crop_size": 32, "num_crops": 2}],
        "optimizer": {"name": "sgd", "batch_size": 128, "lr": 0.4, "classifier_lr": 0.2},
        "scheduler": {"name": "none"},
        "max_epochs": 10,
    }
    return OmegaConf.create({**base, **changes})


def linear(**changes: Any) -> DictConfig:
    base: dict[str, Any] = {
        "backbone": {"name": "resnet50"},
        "pretrained_feature_extractor": "last.ckpt",
        "data": {"dataset": "imagenet", "train_path": "t", "val_path": "v"},
        "optimizer": {"name": "adam", "batch_size": 512, "lr": 1.0},
        "scheduler": {"name": "none"},
        "max_epochs": 10,
    }
    return OmegaConf.create({**base, **changes})


def test_the_input_stays_as_it_is_and_the_result_takes_new_keys() -> None:
    cfg = config(name="${method}-${data.dataset}")
    OmegaConf.set_struct(cfg, True)
    before = OmegaConf.to_yaml(cfg)
    result = resolve_pretrain(cfg)
    assert OmegaConf.to_yaml(cfg) == before
    assert result.name == "byol-cifar10"
    result.data.num_classes = 3
    result.something_new = 1


def test_text_that_looks_like_an_interpolation_stays_text() -> None:
    path = "a/${x}\\${y}/last.ckpt"
    result = resolve_pretrain(config(resume_from_checkpoint=r"a/\${x}\\\${y}/last.ckpt"))
    assert result.resume_from_checkpoint == path
    result = resolve_linear(linear(pretrained_feature_extractor=r"a/\${x}\\\${y}/last.ckpt"))
    assert result.pretrained_feature_extractor == path


def test_defaults_are_solo_learns() -> None:
    result = resolve_pretrain(config())
    expected = {
        "seed": 5,
        "accumulate_grad_batches": 1,
        "num_nodes": 1,
        "resume_from_checkpoint": None,
        "knn_eval": {
            "enabled": False,
            "k": 20,
            "distance_func": "euclidean",
            "features": "backbone",
            "bank_dtype": "float32",
            "bank_device": "device",
            "final": True,
        },
        "performance": {"disable_channel_last": False, "compile": False, "tf32": False},
        "momentum": {"base_tau": 0.99, "final_tau": 1.0, "classifier": False},
        "wandb": {"enabled": False, "entity": None, "project": "solo-learn", "offline": False},
        "auto_resume": {"enabled": False, "max_hours": 36},
        "checkpoint": {
            "enabled": False,
            "dir": "trained_models",
            "frequency": 1,
            "keep_prev": False,
        },
    }
    assert {key: result[key] for key in expected} == expected
    scheduler = result.scheduler
    assert (scheduler.min_lr, scheduler.warmup_start_lr, scheduler.warmup_epochs) == (0, 3e-5, 10)
    assert (scheduler.interval, scheduler.lr_decay_steps) == ("step", None)
    assert (result.data.no_labels, result.data.fraction) == (False, -1)
    assert result.optimizer.exclude_bias_n_norm_wd is False
    assert (result.host, result.backbone.stem, result.backbone.stem_padding) == ("auto", "auto", 2)


@pytest.mark.parametrize(
    ("name", "kwargs"),
    [
        ("sgd", {"momentum": 0.9}),
        ("adam", {}),
        ("adamw", {"betas": [0.9, 0.999]}),
        (
            "lars",
            {"momentum": 0.9, "eta": 1e-3, "clip_lr": False, "exclude_bias_n_norm": False},
        ),
    ],
)
def test_each_optimiser_has_solo_learns_arguments(name: str, kwargs: dict[str, Any]) -> None:
    cfg = config()
    cfg.optimizer.name = name
    assert resolve_pretrain(cfg).optimizer.kwargs == kwargs


def test_arguments_of_an_optimiser_are_kept() -> None:
    cfg = config()
    cfg.optimizer.kwargs = {"nesterov": True, "momentum": 0.5}
    assert resolve_pretrain(cfg).optimizer.kwargs == {"nesterov": True, "momentum": 0.5}


@pytest.mark.parametrize(
    ("devices", "nodes", "visible", "factor"),
    [(1, 1, None, 1), ([0, 1], 1, None, 2), (4, 2, None, 8), ("auto", 1, 4, 4), (-1, 1, 2, 2)],
)
def test_rates_grow_with_the_global_batch(
    devices: Any, nodes: int, visible: int | None, factor: int
) -> None:
    cfg = config(devices=devices, num_nodes=nodes)
    result = resolve_pretrain(cfg, visible=visible)
    assert result.optimizer.lr == pytest.approx(0.4 * 128 * factor / 256)
    assert result.optimizer.classifier_lr == pytest.approx(0.2 * 128 * factor / 256)
    probe = resolve_linear(linear(devices=devices, num_nodes=nodes), visible=visible)
    assert probe.optimizer.lr == pytest.approx(2.0 * factor)


@pytest.mark.parametrize("dataset", ["custom", "parquet"])
def test_without_validation_the_classifier_keeps_its_rate(dataset: str) -> None:
    cfg = config(data={"dataset": dataset, "train_path": "x", "no_labels": True})
    assert resolve_pretrain(cfg).optimizer.classifier_lr == 0.2


@pytest.mark.parametrize(
    ("dataset", "classes"),
    [("cifar100", 100), ("tiny-imagenet", 200), ("imagenet", 1000), ("custom", None)],
)
def test_known_data_sets_know_their_classes(dataset: str, classes: int | None) -> None:
    result = resolve_pretrain(config(data={"dataset": dataset, "train_path": "x"}))
    assert result.data.get("num_classes") == classes


def test_digits_need_no_path_and_formats_may_be_names() -> None:
    assert resolve_pretrain(config(data={"dataset": "digits"})).data.num_classes == 10
    cfg = config(data={"dataset": "parquet", "train_path": "x", "num_classes": 7})
    assert resolve_pretrain(cfg).data.format == "parquet"
    assert resolve_pretrain(cfg).data.num_classes == 7


@pytest.mark.parametrize(
    ("sizes", "crops"),
    [([(32, 2)], (2, 0)), ([(32, 1), (32, 1)], (2, 0)), ([(32, 2), (16, 4), (8, 1)], (2, 5))],
)
def test_crops_are_counted_by_the_first_size(
    sizes: list[tuple[int, int]], crops: tuple[int, int]
) -> None:
    entries = [{"crop_size": size, "num_crops": count} for size, count in sizes]
    data = resolve_pretrain(config(augmentations=entries)).data
    assert (data.num_large_crops, data.num_small_crops) == crops


def test_our_pipelines_are_completed_and_others_pass_through() -> None:
    mine = {"crop_size": 32, "pipeline": "mine", "swirl": {"angle": 3}, "grayscale": {"prob": 1}}
    glyphs = {"crop_size": 32, "pipeline": "glyphs"}
    cfg = config(method="simclr", augmentations=[{"crop_size": 32}, mine, glyphs])
    cfg.method_kwargs = {"proj_hidden_dim": 8, "proj_output_dim": 4, "temperature": 0.2}
    first, second, third = resolve_pretrain(cfg).augmentations
    crop = {"enabled": True, "crop_min_scale": 0.08, "crop_max_scale": 1.0}
    assert first.rrc == third.rrc == {**crop, "interpolation": "bicubic"}
    assert first.solarization == {"prob": 0.0}
    assert first.gaussian_blur == {"prob": 0.0, "sigma": [0.1, 2.0]}
    assert (first.order, third.color_jitter.prob) == ("crop_first", 0.0)
    assert "mean" not in first
    assert "rotation" not in third
    assert second == {**mine, "num_crops": 1}


def test_strategies_blocks_and_trainer_arguments_pass_through_in_order() -> None:
    kwargs = {"later": {"x": 1}, "proj_hidden_dim": 8, "mixmask": None, "proj_output_dim": 4}
    kwargs["pred_hidden_dim"] = 8
    cfg = config(method_kwargs=kwargs, overfit_batches=3)
    result = resolve_pretrain(cfg, blocks=["mixmask", "later"], trainer_keys=["overfit_batches"])
    assert list(result.method_kwargs) == list(kwargs)
    assert result.method_kwargs.later == {"x": 1}
    assert result.overfit_batches == 3
    with pytest.raises(ConfigError, match="unknown key overfit_batches"):
        resolve_pretrain(cfg, blocks=["mixmask", "later"])


def test_solo_learns_leftovers_are_taken() -> None:
    cfg = config(
        method="simsiam",
        method_kwargs={
            "proj_hidden_dim": 8,
            "proj_output_dim": 8,
            "pred_hidden_dim": 4,
            "temperature": 0.2,
        },
        wandb={"enabled": False, "entity": "None"},
        auto_umap={"enabled": False, "frequency": 2},
        dali={"device": "gpu"},
        strategy=None,
        precision=16,
    )
    result = resolve_pretrain(cfg)
    assert result.wandb.entity is None
    assert (result.strategy, result.precision) == ("auto", "16")
    assert "momentum" not in result


def test_decay_steps_may_count_from_the_end() -> None:
    scheduler = {"name": "step", "lr_decay_steps": [5, -3, -20]}
    assert resolve_pretrain(config(scheduler=scheduler)).scheduler.lr_decay_steps == [5, 7]


def test_a_probe_knows_its_image_size() -> None:
    result = resolve_linear(linear())
    assert result.data.augmentations == {"crop_size": 224}
    assert (result.finetune, result.mixup, result.pretrain_method) == (False, 0.0, None)
    assert result.optimizer.layer_decay == 0.0


def test_a_probe_leaves_the_backbone_to_the_checkpoint_and_takes_guests() -> None:
    cfg = linear(probe={"features": "cached"})
    del cfg.backbone
    result = resolve_linear(cfg, trainer_keys=["probe"])
    assert "backbone" not in result
    assert result.probe == {"features": "cached"}
    with pytest.raises(ConfigError, match="unknown key probe"):
        resolve_linear(cfg)

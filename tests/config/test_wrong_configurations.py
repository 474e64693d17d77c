# SPDX-License-Identifier: MIT
"""The table of mistakes: what the user wrote, and what the one line must name."""

from __future__ import annotations

from typing import Any

import pytest
from omegaconf import OmegaConf

from mixmask_solo.config import ConfigError, resolve_linear, resolve_pretrain

PRETRAIN: dict[str, Any] = {
    "name": "run",
    "method": "mocov2plus",
    "backbone": {"name": "resnet18"},
    "method_kwargs": {
        "proj_hidden_dim": 512,
        "proj_output_dim": 128,
        "temperature": 0.1,
        "queue_size": 4096,
    },
    "momentum": {"base_tau": 0.99, "final_tau": 0.999},
    "data": {"dataset": "cifar100", "train_path": "./datasets", "val_path": "./datasets"},
    "augmentations": [{"crop_size": 32, "num_crops": 2}],
    "optimizer": {"name": "sgd", "batch_size": 512, "lr": 0.03, "classifier_lr": 0.1},
    "scheduler": {"name": "warmup_cosine"},
    "max_epochs": 200,
}
LINEAR: dict[str, Any] = {
    "backbone": {"name": "resnet50"},
    "pretrained_feature_extractor": "last.ckpt",
    "data": {"dataset": "imagenet", "train_path": "train", "val_path": "val"},
    "optimizer": {"name": "sgd", "batch_size": 256, "lr": 30.0},
    "scheduler": {"name": "step", "lr_decay_steps": [60, 80]},
    "max_epochs": 100,
}
DELETE = object()
Case = tuple[dict[str, Any], list[str]]

# Changes by dotted key (DELETE removes it), and what the line must contain.
WRONG_PRETRAIN: list[Case] = [
    # unknown keys, at every depth
    ({"max_epoch": 3}, ["unknown key max_epoch", "did you mean max_epochs?"]),
    ({"optimizer.learning": 1}, ["unknown key optimizer.learning", "batch_size"]),
    ({"optimizer.kwargs.momntum": 0.9}, ["optimizer.kwargs.momntum", "did you mean momentum?"]),
    ({"method_kwargs.mixmsk": {}}, ["method_kwargs.mixmsk", "did you mean mixmask?"]),
    ({"method_kwargs.pred_hidden_dim": 8}, ["method_kwargs.pred_hidden_dim", "queue_size"]),
    ({"augmentations.0.rrc": {"min_scale": 0.2}}, ["augmentations[0].rrc.min_scale"]),
    ({"augmentations.0.rotation": {}}, ["unknown key augmentations[0].rotation"]),
    (
        {"augmentations.0.pipeline": "glyphs", "augmentations.0.grayscale": {"prob": 1}},
        ["unknown key augmentations[0].grayscale", "rotation and color_jitter"],
    ),
    ({"augmentations": 4}, ["augmentations is 4: give a list of blocks"]),
    ({"augmentations.1": 3}, ["augmentations[1] is 3", "keys among crop_size"]),
    ({"backbone.stm": "cifar"}, ["backbone.stm", "did you mean stem?"]),
    # unknown names
    ({"method": "mocov2pls"}, ["method is 'mocov2pls'", "simsiam", "did you mean mocov2plus?"]),
    ({"optimizer.name": "adm"}, ["optimizer.name is 'adm'", "did you mean adam?"]),
    ({"scheduler.name": "warmup_cosin"}, ["scheduler.name", "did you mean warmup_cosine?"]),
    ({"scheduler.interval": "batch"}, ["scheduler.interval is 'batch'", "step or epoch"]),
    ({"data.dataset": "cifar-100"}, ["data.dataset is 'cifar-100'", "did you mean cifar100?"]),
    ({"data.format": "dale"}, ["data.format is 'dale'", "image_folder, parquet", "dali"]),
    ({"precision": "16-mixd"}, ["precision is '16-mixd'", "did you mean 16-mixed?"]),
    ({"accelerator": "gpus"}, ["accelerator is 'gpus'", "did you mean gpu?"]),
    ({"host": "sollo"}, ["host is 'sollo'", "auto, solo or builtin"]),
    ({"backbone.stem": "cifr"}, ["backbone.stem is 'cifr'", "did you mean cifar?"]),
    ({"knn_eval.distance_func": "l2"}, ["knn_eval.distance_func is 'l2'", "euclidean or cosine"]),
    # missing keys
    ({"max_epochs": DELETE}, ["max_epochs is missing"]),
    ({"method": DELETE}, ["method is missing", "byol"]),
    ({"optimizer.lr": DELETE}, ["optimizer.lr is missing"]),
    ({"optimizer.lr": "???"}, ["optimizer.lr is missing (???)"]),
    ({"method_kwargs.temperature": DELETE}, ["method_kwargs.temperature is missing"]),
    ({"data.train_path": None}, ["data.train_path is missing", "cifar100"]),
    ({"augmentations": DELETE}, ["augmentations is missing", "mocov2plus", "two crops"]),
    ({"backbone": DELETE}, ["backbone.name is missing"]),
    # wrong types
    ({"optimizer.lr": "fast"}, ["optimizer.lr is 'fast'", "a number"]),
    ({"optimizer.batch_size": 12.5}, ["optimizer.batch_size is 12.5", "a whole number"]),
    ({"checkpoint.enabled": "yes"}, ["checkpoint.enabled is 'yes'", "true or false"]),
    ({"data": "cifar100"}, ["data is 'cifar100'", "block with keys"]),
    ({"resume_from_checkpoint": "None"}, ["resume_from_checkpoint is 'None'", "write null"]),
    ({"method_kwargs": 3}, ["method_kwargs is 3", "a block of keys"]),
    ({"name": "${nobody}"}, ["name cannot be resolved", "nobody"]),
    # impossible values
    ({"method_kwargs.queue_size": 4000}, ["queue_size is 4000", "global batch 512", "4096"]),
    ({"devices": 3}, ["queue_size is 4096", "global batch 1536"]),
    ({"optimizer.batch_size": 1}, ["optimizer.batch_size is 1", "at least 2"]),
    ({"optimizer.lr": -0.1}, ["optimizer.lr is -0.1", "above 0"]),
    ({"optimizer.weight_decay": -1}, ["optimizer.weight_decay is -1"]),
    ({"method_kwargs.temperature": 0}, ["method_kwargs.temperature is 0", "above 0"]),
    ({"max_epochs": 0}, ["max_epochs is 0", "at least 1"]),
    ({"momentum.base_tau": 1.0}, ["momentum.base_tau is 1.0", "momentum.final_tau (0.999)"]),
    ({"momentum.final_tau": 1.2}, ["momentum.final_tau is 1.2", "from 0.0 to 1.0"]),
    ({"scheduler.name": "step"}, ["scheduler.lr_decay_steps is missing", "step"]),
    ({"data.fraction": 1.5}, ["data.fraction is 1.5", "-1 for the whole"]),
    (
        {"scheduler": {"name": "cosine_from_one", "interval": "epoch"}, "max_epochs": 1},
        ["scheduler.name is cosine_from_one", "raise max_epochs"],
    ),
    ({"data.fraction": 0}, ["data.fraction is 0"]),
    ({"dali.readers": 0}, ["dali.readers is 0", "at least 1"]),
    ({"dali.readers": "all"}, ["dali.readers is 'all'", "auto"]),
    ({"dali.hw_decoder_load": 65}, ["dali.hw_decoder_load is 65", "from 0.0 to 1.0"]),
    ({"data.last_batch": "keep"}, ["data.last_batch is 'keep'", "drop or pad"]),
    ({"data.num_classes": 10}, ["data.num_classes is 10", "cifar100 has 100"]),
    ({"data.no_labels": True}, ["data.no_labels is true for cifar100", "custom"]),
    ({"augmentations.0.num_crops": 1}, ["makes 1 crop of size 32", "at least 2"]),
    ({"augmentations.0.num_crops": 3}, ["3 large and 0 small", "mocov2plus", "exactly 2"]),
    (
        {"augmentations.1": {"crop_size": 16, "num_crops": 4}},
        ["2 large and 4 small", "mocov2plus"],
    ),
    (
        {"augmentations.1": {"crop_size": 64, "num_crops": 2}},
        ["augmentations[1].crop_size is 64", "large crops first"],
    ),
    (
        {"augmentations.0.rrc": {"crop_min_scale": 0.9, "crop_max_scale": 0.5}},
        ["augmentations[0].rrc.crop_min_scale is 0.9"],
    ),
    ({"augmentations.0.grayscale": {"prob": 2}}, ["augmentations[0].grayscale.prob is 2"]),
    ({"augmentations.0.mean": [0.5, 0.5, 0.5]}, ["augmentations[0].mean", "give both"]),
    ({"augmentations.0.std": [1, 1]}, ["augmentations[0].std has 2 items", "give 3"]),
    ({"devices": 0}, ["devices is 0", "-1 or auto"]),
    ({"devices": [0, 0]}, ["devices is [0, 0]"]),
    ({"devices": "many"}, ["devices is 'many'", "number of devices"]),
    ({"backbone.stem_padding": 3}, ["backbone.stem_padding is 3", "1 or 2"]),
    ({"resume_from_checkpoint": "last.pth"}, ["resume_from_checkpoint is 'last.pth'", ".ckpt"]),
    # solo-learn's keys that are not implemented
    ({"auto_umap": {"enabled": True}}, ["auto_umap.enabled is true", "remove auto_umap"]),
    ({"debug_augmentations": True}, ["debug_augmentations is true", "mixmask-gallery"]),
]

WRONG_LINEAR: list[Case] = [
    ({"pretrained_feature_extractor": DELETE}, ["pretrained_feature_extractor is missing"]),
    ({"pretrained_feature_extractor": "???"}, ["pretrained_feature_extractor is missing (???)"]),
    (
        {"pretrained_feature_extractor": "a.onnx"},
        ["'a.onnx'", ".pth, .pt, .pth.tar or .safetensors"],
    ),
    ({"pretrained_feature_extractor": "None"}, ["pretrained_feature_extractor is 'None'"]),
    ({"data.val_path": None}, ["data.val_path is missing"]),
    ({"optimizer.classifier_lr": 0.1}, ["unknown key optimizer.classifier_lr"]),
    ({"optimizer.layer_decay": 0.7}, ["optimizer.layer_decay is 0.7", "finetune"]),
    ({"scheduler": {"name": "exponential"}}, ["scheduler.min_lr is 0", "above 0"]),
    ({"label_smoothing": 2}, ["label_smoothing is 2", "from 0.0 to 1.0"]),
    ({"data.augmentations": {"crop_sise": 1}}, ["data.augmentations.crop_sise", "crop_size?"]),
    ({"data.augmentations": {"interpolation": "cubic"}}, ["interpolation is 'cubic'", "bicubic"]),
    ({"data.last_batch": "kep"}, ["data.last_batch is 'kep'", "drop, pad or keep"]),
    ({"augmentations": []}, ["unknown key augmentations"]),
]


def changed(base: dict[str, Any], changes: dict[str, Any]) -> Any:
    """``base`` as a configuration with dotted ``changes``; a list grows by its next index."""
    cfg = OmegaConf.create(base)
    for key, value in changes.items():
        parent, _, last = key.rpartition(".")
        node = OmegaConf.select(cfg, parent) if parent else cfg
        if value is DELETE:
            del node[last]
        elif OmegaConf.is_list(node) and int(last) == len(node):
            node.append(value)
        else:
            OmegaConf.update(cfg, key, value, merge=False)
    return cfg


def label(case: Case) -> str:
    return ",".join(f"{k}={'deleted' if v is DELETE else v}" for k, v in case[0].items())


def expect(case: Case, line: str) -> None:
    assert len(line.splitlines()) == 1
    for fragment in case[1]:
        assert fragment in line


@pytest.mark.parametrize("case", WRONG_PRETRAIN, ids=label)
def test_a_wrong_pretraining_configuration_ends_in_one_line(case: Case) -> None:
    with pytest.raises(ConfigError) as caught:
        resolve_pretrain(changed(PRETRAIN, case[0]), blocks={"mixmask"})
    expect(case, str(caught.value))


@pytest.mark.parametrize("case", WRONG_LINEAR, ids=label)
def test_a_wrong_probe_ends_in_one_line(case: Case) -> None:
    with pytest.raises(ConfigError) as caught:
        resolve_linear(changed(LINEAR, case[0]))
    expect(case, str(caught.value))


def test_the_unchanged_bases_are_right() -> None:
    resolve_pretrain(OmegaConf.create(PRETRAIN), blocks={"mixmask"})
    resolve_linear(OmegaConf.create(LINEAR))


@pytest.mark.parametrize("method", ["simclr", "simsiam"])
def test_momentum_is_refused_where_nothing_reads_it(method: str) -> None:
    kwargs = {"proj_hidden_dim": 8, "proj_output_dim": 8}
    kwargs |= {"temperature": 1} if method == "simclr" else {"pred_hidden_dim": 8}
    cfg = changed(PRETRAIN, {"method": method, "method_kwargs": kwargs})
    with pytest.raises(ConfigError, match=f"momentum is given: {method}"):
        resolve_pretrain(cfg)

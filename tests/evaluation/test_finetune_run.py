# SPDX-License-Identifier: MIT
"""Whole fine-tunings on digits: rates, filters, few labels, from scratch, resumed, refused."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest
import torch
from lightning.pytorch import Trainer
from omegaconf import DictConfig, OmegaConf
from torch import nn

from mixmask_solo.config import ConfigError
from mixmask_solo.evaluation.finetuned import build_finetuned
from mixmask_solo.evaluation.network import load_network, new_backbone
from mixmask_solo.evaluation.run_knn import evaluate_knn
from mixmask_solo.export.write import export
from mixmask_solo.records.checkpoints import LAST, read_checkpoint
from mixmask_solo.records.pretrained import read_pretrained
from mixmask_solo.records.registry.record import read_run
from mixmask_solo.runs.finetune import finetune, resolve, subject
from mixmask_solo.runs.interrupt import Interrupted, InterruptSaver
from mixmask_solo.runs.linear import linear
from mixmask_solo.runs.pretrain import pretrain
from support.checkpoint import load_pretrained
from support.tiny import config as pretraining

State = dict[str, torch.Tensor]


def config(folder: Path, checkpoint: Path | None, **more: Any) -> DictConfig:
    base = {
        "name": "tuned",
        "pretrained_feature_extractor": checkpoint and str(checkpoint),
        "backbone": {"name": "resnet10t"},
        "data": {"dataset": "digits", "num_workers": 0, "fraction": 0.1},
        "optimizer": {"name": "sgd", "batch_size": 64, "lr": 0.04, "classifier_lr": 0.4},
        "scheduler": {"name": "step", "lr_decay_steps": [1], "gamma": 0.2},
        "checkpoint": {"enabled": True, "dir": str(folder)},
        "max_epochs": 2,
        "accelerator": "cpu",
        "limit_val_batches": 2,
    }
    return OmegaConf.merge(base, OmegaConf.create(more))  # type: ignore[return-value]


def weights(result: dict[str, Any]) -> State:
    state: State = read_checkpoint(Path(result["directory"]) / LAST)["state_dict"]
    return state


def test_the_whole_network_is_trained_at_two_rates(tmp_path: Path, run_folder: Path) -> None:
    result = finetune(config(tmp_path, run_folder, optimizer={"lr": 1.6, "classifier_lr": 0.4}))
    assert result["status"] == "completed"
    assert (result["steps"], result["data"]["train"]["images"]) == (4, 145)
    rates = {"backbone": 1.6 * 64 / 256, "classifier": 0.4 * 64 / 256}
    assert result["learning_rates"] == pytest.approx(rates)
    assert {"val_acc1", "val_acc5", "train_loss"} <= result["metrics"].keys()
    assert result["best_val_acc1"] >= result["metrics"]["val_acc1"]
    assert result["best_epoch"] in (0, 1)
    assert (result["from_scratch"], result["input_filters"]) == (False, None)

    folder = Path(result["directory"])
    assert folder.parent == tmp_path / "finetune"
    assert read_run(folder).kind == "finetune"
    content = read_checkpoint(folder / LAST)
    groups = content["optimizer_states"][0]["param_groups"]
    last = {"backbone": 0.2 * rates["backbone"], "classifier": 0.2 * rates["classifier"]}
    assert {group["name"]: group["lr"] for group in groups} == pytest.approx(last)

    before, state = load_pretrained(run_folder).state_dict(), content["state_dict"]
    moved = {k for k in before if not torch.equal(before[k], state[f"backbone.{k}"])}
    trained = {k for k, _ in load_pretrained(run_folder).named_parameters()}
    assert trained <= moved  # every layer
    assert {k for k in before if k.endswith("running_mean")} <= moved  # BatchNorm trains


def tuned(**more: Any) -> Any:
    blocks = {"data": {"dataset": "digits", "num_classes": 10}, "max_epochs": 4, **more}
    cfg, _ = resolve(config(Path("nowhere"), None, **blocks))
    return build_finetuned(new_backbone(cfg.backbone, "digits", 5), cfg)


def test_the_optimisers_groups_part_all_parameters() -> None:
    model = tuned()
    optimizers, [schedule] = model.configure_optimizers()
    groups = {group["name"]: group for group in optimizers[0].param_groups}
    assert groups.keys() == {"backbone", "classifier"}
    for name, rate in (("backbone", 0.01), ("classifier", 0.1)):
        assert groups[name]["lr"] == pytest.approx(rate)
        assert (groups[name]["weight_decay"], groups[name]["momentum"]) == (0, 0.9)
        own = {id(p) for p in getattr(model, name).parameters()}
        assert {id(p) for p in groups[name]["params"]} == own
    lr = schedule["scheduler"].schedule.lr
    assert [lr(1.0, epoch) for epoch in range(3)] == pytest.approx([1.0, 0.2, 0.2])
    assert schedule["interval"] == "epoch"


def test_norms_and_biases_without_decay_keep_the_classifiers_rate() -> None:
    more = {"exclude_bias_n_norm_wd": True, "weight_decay": 1e-4}
    optimizers, _ = tuned(optimizer=more).configure_optimizers()
    found = {g["name"]: (g["lr"], g["weight_decay"]) for g in optimizers[0].param_groups}
    assert found == {
        "backbone": (pytest.approx(0.01), 1e-4),
        "backbone_no_decay": (pytest.approx(0.01), 0),
        "classifier": (pytest.approx(0.1), 1e-4),
        "classifier_no_decay": (pytest.approx(0.1), 0),
    }


def test_both_rates_follow_one_cosine() -> None:
    model = tuned(scheduler={"name": "cosine", "interval": "epoch"}, max_epochs=4)
    model.trainer = Trainer(max_epochs=4, logger=False, accelerator="cpu")
    optimizers, [schedule] = model.configure_optimizers()
    rates = []
    for _ in range(4):
        rates.append([group["lr"] for group in optimizers[0].param_groups])
        optimizers[0].step()
        schedule["scheduler"].step()
    share = torch.tensor([1.0, 0.85355339, 0.5, 0.14644661])
    expected = share[:, None] * torch.tensor([0.01, 0.1])
    torch.testing.assert_close(torch.tensor(rates), expected, rtol=1e-6, atol=0)


def test_the_classifier_starts_small_unless_told_otherwise() -> None:
    small, usual = tuned(), tuned(classifier_init="default")
    assert small.classifier.bias.abs().max() == 0
    assert 0.009 < small.classifier.weight.std() < 0.011
    assert usual.classifier.bias.abs().max() > 0
    assert small.training
    assert all(m.training for m in small.modules() if isinstance(m, nn.BatchNorm2d))


def test_from_scratch_starts_as_the_seed_draws_it_and_says_so(tmp_path: Path) -> None:
    cfg = config(tmp_path, None, max_epochs=1, limit_train_batches=1, optimizer={"lr": 1e-9})
    result = finetune(cfg)
    saved = json.loads((Path(result["directory"]) / "result.json").read_text())
    assert saved["from_scratch"] is True
    assert saved["config"]["pretrained_feature_extractor"] is None
    assert "weights" not in saved["data"]
    assert "input_filters" not in saved
    block, state = result["config"]["backbone"], weights(result)
    start, other = (new_backbone(block, "digits", seed).state_dict() for seed in (5, 6))
    torch.testing.assert_close(state["backbone.conv1.0.weight"], start["conv1.0.weight"])
    assert not torch.equal(other["conv1.0.weight"], start["conv1.0.weight"])


def test_interrupted_and_resumed_equals_uninterrupted(
    tmp_path: Path, run_folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    straight = finetune(config(tmp_path / "a", run_folder))
    original = InterruptSaver.on_train_batch_start

    def hook(self: InterruptSaver, trainer: Any, module: Any, data: Any, batch_idx: int) -> None:
        self.requested |= (trainer.current_epoch, batch_idx) == (1, 1)
        original(self, trainer, module, data, batch_idx)

    with monkeypatch.context() as patch:
        patch.setattr(InterruptSaver, "on_train_batch_start", hook)
        with pytest.raises(Interrupted) as stop:
            finetune(config(tmp_path / "b", run_folder))
    saved = stop.value.checkpoint
    resumed = finetune(config(tmp_path / "b", run_folder, resume_from_checkpoint=saved))
    a, b = weights(straight), weights(resumed)
    assert a.keys() == b.keys()
    assert not [name for name in a if not torch.equal(a[name], b[name])]
    assert resumed["best_epoch"] == straight["best_epoch"]
    assert resumed["metrics"]["val_acc1"] == straight["metrics"]["val_acc1"]

    for more, told in (
        ({"data": {"fraction": 0.2}}, "data.fraction is 0.2, but checkpoint"),
        ({"optimizer": {"classifier_lr": 0.5}}, "optimizer.classifier_lr is 0.5, but checkpoint"),
    ):
        again = {**more, "resume_from_checkpoint": saved}
        with pytest.raises(ConfigError, match=told):
            finetune(config(tmp_path / "b", run_folder, **again))


def test_a_filter_of_the_pretraining_applies_and_stays_with_the_network(tmp_path: Path) -> None:
    block = {"mixmask": None, "mscn": {"patch_size": 8, "kernel": 5}}
    short: dict[str, Any] = {"max_epochs": 1, "limit_train_batches": 1, "limit_val_batches": 0}
    short |= {"optimizer": {"batch_size": 8}, "method_kwargs": block}
    start = Path(pretrain(pretraining(tmp_path, "simclr", **short))["directory"])
    more = {"max_epochs": 1, "limit_train_batches": 1, "optimizer": {"lr": 1e-9}}
    result = finetune(config(tmp_path, start, **more))
    assert result["input_filters"] == ["mscn"]
    assert result["config"]["method_kwargs"]["mscn"]["kernel"] == 5
    x, folder = torch.rand(2, 3, 32, 32), Path(result["directory"])
    before, after = load_pretrained(start).eval(), load_pretrained(folder).eval()
    after.load_state_dict(before.state_dict())
    torch.testing.assert_close(after(x), before(x))
    after._forward_pre_hooks.clear()
    assert not torch.allclose(after(x), before(x))
    assert evaluate_knn(folder, device="cpu")["input_filters"] == ["mscn"]
    (tmp_path / "away").mkdir()
    exported = export(folder, "timm", out=tmp_path / "away" / "tuned.timm.pth")
    assert exported.source.facts["filter_blocks"]["mscn"]["kernel"] == 5
    moved = read_pretrained(tmp_path / "away" / "tuned.timm.pth")
    assert moved.filters == ["mscn"]
    again = load_network(moved).eval()  # which knows network and filter by itself
    torch.testing.assert_close(again(x), load_pretrained(folder).eval()(x))
    probe = config(tmp_path, start, finetune=True, **more)
    del probe.data.fraction, probe.optimizer.classifier_lr
    probed = linear(probe)
    assert probed["config"]["method_kwargs"]["mscn"]["kernel"] == 5
    found = evaluate_knn(probed["directory"], device="cpu")
    assert found["input_filters"] == probed["input_filters"] == ["mscn"]


@pytest.mark.parametrize(
    ("more", "told"),
    [
        ({"data": {"labels": "10percent"}}, r"data\.labels is 10percent: .* not of digits; set"),
        ({"data": {"labels": "lost.txt"}}, r"data\.labels is '.*lost\.txt': no such file"),
        ({"data": {"fraction": 0}}, r"data\.fraction is 0"),
        ({"optimizer": {"batch_size": 256}}, "only 145 training images: give at most 145"),
        ({"data": {"last_batch": "keep"}, "optimizer": {"batch_size": 48}}, "has one image"),
        ({"optimizer": {"classifier_lr": None}}, r"optimizer\.classifier_lr is missing"),
        ({"optimizer": {"layer_decay": 0.5}}, r"unknown key optimizer\.layer_decay"),
        ({"data": {"num_classes": 12}}, r"data\.num_classes is 12: digits has 10"),
        ({"backbone": None}, r"backbone\.name is missing: pretrained_feature_extractor is null"),
        ({"evaluate": "momentum"}, "there is no such network"),
        ({"finetune": False}, "finetune is False"),
        ({"probe": {"init": "normal"}}, "unknown key probe"),
    ],
)
def test_what_cannot_be_is_one_line(more: dict[str, Any], told: str, tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match=told) as error:
        finetune(config(tmp_path, None, **more))
    assert "\n" not in str(error.value)
    assert not (tmp_path / "finetune").exists()


def test_the_checkpoint_is_required_or_null(tmp_path: Path, run_folder: Path) -> None:
    cfg = config(tmp_path, run_folder)
    del cfg["pretrained_feature_extractor"]
    with pytest.raises(ConfigError, match="pretrained_feature_extractor is missing"):
        resolve(cfg)
    resolved, pretrained = resolve(config(tmp_path, run_folder))
    assert pretrained is not None
    assert resolved.data.augmentations.crop_size == 24  # that of the pretraining
    assert resolved.pretrained_feature_extractor == str(run_folder / LAST)


@pytest.mark.parametrize(
    ("labels", "fraction", "told"),
    [
        ("100percent", -1, "labels 100percent"),
        ("100percent", 0.1, "10 % of each class"),
        ("1percent", 0.5, "50 % of each class, labels 1percent"),
    ],
)
def test_the_banner_says_how_many_labels(labels: str, fraction: float, told: str) -> None:
    cfg = {"evaluate": "online", "pretrained_feature_extractor": None}
    cfg |= {"backbone": {"name": "resnet18"}, "data": {"labels": labels, "fraction": fraction}}
    assert subject(OmegaConf.create(cfg)) == f"training from scratch (resnet18), {told}"

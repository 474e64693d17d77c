# SPDX-License-Identifier: MIT
"""Built-in methods under Lightning's trainer: resuming, accumulation, logged names, kernels."""

from __future__ import annotations

import math
from typing import Any

import pytest
import torch
from lightning.pytorch import Trainer
from torch.utils.data import DataLoader, Dataset

from mixmask_solo.host import load

N, BATCH = 16, 4


class Views(Dataset):
    """Sample i is always the same; a training item is (index, views, label)."""

    def __init__(self, train: bool) -> None:
        self.train = train

    def __len__(self) -> int:
        return N

    def __getitem__(self, i: int) -> Any:
        generator = torch.Generator().manual_seed(i)
        views = list(torch.rand(2, 3, 8, 8, generator=generator))
        return (i, views, i % 4) if self.train else (views[0], i % 4)


def fit(model, tmp_path, epochs=2, resume=None, **options):
    trainer = Trainer(
        max_epochs=epochs,
        accelerator="cpu",
        logger=False,
        default_root_dir=tmp_path,
        enable_checkpointing=False,
        enable_progress_bar=False,
        enable_model_summary=False,
        **options,
    )
    loaders = [DataLoader(Views(train), BATCH) for train in (True, False)]
    trainer.fit(model, *loaders, ckpt_path=resume)
    return trainer


def build(cfg):
    torch.manual_seed(1)
    return load("builtin").methods[cfg.method](cfg)


@pytest.fixture
def small_cfg(make_cfg):
    def make(method, **changes):
        few = {"max_epochs": 2, "optimizer.batch_size": BATCH, "scheduler.warmup_epochs": 1}
        queue = {"method_kwargs.queue_size": 8} if method == "mocov2plus" else {}
        return make_cfg(method, **few, **queue, **changes)

    return make


class Recorder:
    """Notes τ and whether the momentum network moved, batch by batch."""

    def __init__(self, model: Any) -> None:
        self.taus: list[float] = []
        self.moved: list[bool] = []
        weight, update = model.momentum_backbone.conv1.weight, model.on_train_batch_end

        def on_train_batch_end(*args: Any) -> None:
            before, tau = weight.detach().clone(), model.momentum_updater.cur_tau
            update(*args)
            self.taus.append(tau)
            self.moved.append(not torch.equal(before, weight))

        model.on_train_batch_end = on_train_batch_end


def test_resumed_run_equals_an_uninterrupted_one(small_cfg, tmp_path):
    whole = build(small_cfg("mocov2plus"))
    whole_taus = Recorder(whole)
    fit(whole, tmp_path)

    first = build(small_cfg("mocov2plus"))
    stop = fit_one_of_two_epochs(first, tmp_path)
    second = build(small_cfg("mocov2plus"))
    second_taus = Recorder(second)
    fit(second, tmp_path, resume=stop)
    assert second_taus.taus == whole_taus.taus[4:]
    assert all(second_taus.moved)
    for key, value in whole.state_dict().items():
        assert torch.equal(second.state_dict()[key], value), key


def fit_one_of_two_epochs(model, tmp_path):
    """A checkpoint of a run that was to last two epochs and stopped after one."""
    path = tmp_path / "half.ckpt"

    def save_and_stop():
        model.trainer.save_checkpoint(path)
        model.trainer.should_stop = True

    model.on_train_epoch_end = save_and_stop
    fit(model, tmp_path)
    torch.load(path, weights_only=True)  # nothing in it needs unpickling
    return path


def test_tau_follows_the_cosine_of_optimiser_steps(small_cfg, tmp_path):
    model = build(small_cfg("byol"))
    record = Recorder(model)
    fit(model, tmp_path)
    expected = [1 - 0.01 * (math.cos(math.pi * i / 8) + 1) / 2 for i in range(8)]
    assert record.taus == pytest.approx(expected)


def test_momentum_network_waits_for_the_optimiser(small_cfg, tmp_path):
    model = build(small_cfg("byol", accumulate_grad_batches=2))
    record = Recorder(model)
    fit(model, tmp_path, accumulate_grad_batches=2)
    assert record.moved == [False, True] * 4
    assert model.lr == pytest.approx(2 * 0.1)


@pytest.mark.parametrize("method", ["byol", "simclr"])
def test_logged_names_are_solo_learns(small_cfg, tmp_path, method):
    knn = {"knn_eval.enabled": True, "knn_eval.k": 3, "knn_eval.distance_func": "cosine"}
    trainer = fit(build(small_cfg(method, **knn)), tmp_path, epochs=1)
    expected = {"train_class_loss", "train_acc1", "train_acc5", "val_loss", "val_acc1"}
    expected |= {"val_acc5", "val_knn_acc1", "val_knn_acc5"}
    expected |= (
        {"train_neg_cos_sim", "train_z_std", "tau"} if method == "byol" else {"train_nce_loss"}
    )
    assert expected <= set(trainer.callback_metrics)
    assert 0 <= trainer.callback_metrics["val_knn_acc1"] <= 100


@pytest.mark.parametrize("interval", ["step", "epoch"])
def test_schedule_moves_per_step_or_per_epoch(small_cfg, tmp_path, interval):
    changes = {"scheduler.name": "cosine", "scheduler.interval": interval}
    model = build(small_cfg("simclr", **changes))
    seen: list[float] = []
    model.on_train_batch_start = lambda *_: seen.append(rate(model))
    fit(model, tmp_path)
    at = range(8) if interval == "step" else [0, 0, 0, 0, 4, 4, 4, 4]
    assert seen == pytest.approx([0.1 * (1 + math.cos(math.pi * i / 8)) / 2 for i in at])


def rate(model) -> float:
    return model.trainer.optimizers[0].param_groups[0]["lr"]


@pytest.mark.parametrize(
    ("options", "fused"),
    [
        ({}, True),
        ({"gradient_clip_val": 1.0, "precision": "bf16-mixed"}, False),
        ({"precision": "bf16-mixed"}, True),
    ],
)
def test_fused_kernels_only_where_lightning_allows_them(small_cfg, tmp_path, options, fused):
    model = build(small_cfg("simsiam", **{"scheduler.name": "none"}))
    trainer = fit(model, tmp_path, epochs=1, limit_train_batches=1, **options)
    assert bool(trainer.optimizers[0].defaults["fused"]) is fused


def test_linear_probe_moves_the_classifier_alone(make_cfg, tmp_path):
    host = load("builtin")
    cfg = make_cfg("simclr", **{"max_epochs": 1, "scheduler.name": "step"})
    cfg.scheduler.lr_decay_steps = [1]
    backbone = build(cfg).backbone
    probe = host.linear(backbone, cfg)
    before = {k: v.clone() for k, v in probe.state_dict().items()}
    trainer = fit_probe(probe, tmp_path)
    changed = {k for k, v in probe.state_dict().items() if not torch.equal(v, before[k])}
    assert changed == {"classifier.weight", "classifier.bias"}
    assert rate(probe) == pytest.approx(0.01)
    assert {"train_loss", "train_acc1", "val_loss", "val_acc1"} <= set(trainer.callback_metrics)


def fit_probe(probe, tmp_path):
    trainer = Trainer(
        max_epochs=1,
        accelerator="cpu",
        logger=False,
        default_root_dir=tmp_path,
        enable_checkpointing=False,
        enable_progress_bar=False,
        enable_model_summary=False,
    )
    trainer.fit(probe, DataLoader(Views(False), BATCH), DataLoader(Views(False), BATCH))
    return trainer


def test_fine_tuning_moves_all_and_lowers_the_rate_with_depth(make_cfg, tmp_path):
    cfg = make_cfg("simclr", **{"max_epochs": 1, "finetune": True, "scheduler.name": "none"})
    cfg.backbone.name = "resnet10t"
    cfg.optimizer.layer_decay = 0.5
    probe = load("builtin").linear(build(cfg).backbone, cfg)
    before = probe.backbone.conv1[0].weight.clone()
    fit_probe(probe, tmp_path)
    assert not torch.equal(probe.backbone.conv1[0].weight, before)
    rates = [group["lr"] for group in probe.trainer.optimizers[0].param_groups]
    assert rates[-1] == pytest.approx(0.1)
    assert min(rates) < 0.02


def test_probe_with_mixed_targets_reports_no_accuracy_while_training(make_cfg, make_batch):
    cfg = make_cfg("simclr", **{"finetune": True, "scheduler.name": "none"})
    smooth = torch.full((8, 10), 0.1)
    probe = load("builtin").linear(
        build(cfg).backbone, cfg, mixup_func=lambda x, y: (x.flip(0), smooth)
    )
    _, (x, _), y = make_batch([12, 12])
    probe.train()
    out = probe.shared_step((x, y), 0)
    assert set(out) == {"loss"}
    expected = -probe(x.flip(0))["logits"].log_softmax(1).mean()
    torch.testing.assert_close(out["loss"], expected, rtol=1e-4, atol=1e-5)
    probe.eval()
    assert "acc1" in probe.shared_step((x, y), 0)


def test_layer_decay_needs_fine_tuning(make_cfg):
    cfg = make_cfg("simclr", **{"optimizer.layer_decay": 0.5})
    with pytest.raises(ValueError, match=r"layer_decay is 0\.5: it needs finetune"):
        load("builtin").linear(build(cfg).backbone, cfg)

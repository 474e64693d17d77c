# SPDX-License-Identifier: MIT
"""Heads on shared features: their steps, rates and losses are those of single probes."""

from __future__ import annotations

from itertools import product
from types import SimpleNamespace
from typing import Any

import pytest
import torch
from omegaconf import DictConfig, OmegaConf
from torch import nn

from mixmask_solo.config import ConfigError
from mixmask_solo.evaluation.head_table import HeadTable
from mixmask_solo.evaluation.heads import Head, Heads, best_head, build_heads, heads_of
from mixmask_solo.evaluation.probe import Identity, Probe

EPOCHS, BATCHES, WIDTH, CLASSES = 3, 4, 6, 5
RATES, DECAYS = [0.05, 2.0], [0.0, 1e-2]
OPTIMIZERS: list[dict[str, Any]] = [
    {"name": "sgd", "kwargs": {"momentum": 0.9, "nesterov": True}},
    {"name": "adam", "kwargs": {}},
    {"name": "adamw", "exclude_bias_n_norm_wd": True, "kwargs": {}},
    {"name": "lars", "kwargs": {"momentum": 0.9}},
    {"name": "lars", "kwargs": {"momentum": 0.9, "exclude_bias_n_norm": True, "clip_lr": True}},
]
SCHEDULERS: list[dict[str, Any]] = [
    {"name": "cosine", "min_lr": 1e-3},
    {"name": "cosine", "interval": "epoch"},
    {"name": "cosine_from_one", "interval": "epoch"},
    {"name": "warmup_cosine", "warmup_epochs": 1},
    {"name": "step", "lr_decay_steps": [1, 2]},
    {"name": "exponential", "min_lr": 1e-5, "interval": "epoch"},
    {"name": "none"},
]


def cfg(**more: Any) -> DictConfig:
    base = {
        "data": {"num_classes": CLASSES},
        "max_epochs": EPOCHS,
        "optimizer": {"name": "sgd", "batch_size": 8, "lr": RATES, "weight_decay": DECAYS},
        "scheduler": {"name": "cosine"},
        "performance": {"disable_channel_last": False},
        "probe": {"features": "cached", "init": "default", "normalize": [False, True]},
        "label_smoothing": 0.0,
        "mixup": 0.0,
        "cutmix": 0.0,
    }
    return OmegaConf.merge(base, OmegaConf.create(more))  # type: ignore[return-value]


def single(config: DictConfig, head: Head) -> DictConfig:
    """The configuration of this head's own run."""
    optimizer = {"lr": head.lr, "weight_decay": head.weight_decay}
    probe = {"normalize": head.normalize}
    return OmegaConf.merge(config, {"optimizer": optimizer, "probe": probe})  # type: ignore[return-value]


def built(config: DictConfig) -> Probe:
    torch.manual_seed(7)
    model = build_heads(Identity(WIDTH), config)
    steps = SimpleNamespace(estimated_stepping_batches=EPOCHS * BATCHES, gradient_clip_val=None)
    steps.datamodule = None
    model._trainer = steps  # type: ignore[assignment]
    return model


def trained(config: DictConfig) -> tuple[Probe, list[list[float]]]:
    """A probe after all epochs, and the rates of each step."""
    model, generator = built(config), torch.Generator().manual_seed(1)
    found = model.configure_optimizers()
    [optimizer], entries = found if isinstance(found, tuple) else ([found], [])
    model._trainer = None
    rates = []
    for _ in range(EPOCHS):
        for step in range(BATCHES):
            x = 3 * torch.randn(8, WIDTH, generator=generator)
            y = torch.randint(CLASSES, (8,), generator=generator)
            rates.append([group["lr"] for group in optimizer.param_groups])
            optimizer.zero_grad()
            model.training_step([x, y], step).backward()
            optimizer.step()
            for entry in entries:
                if entry["interval"] == "step":
                    entry["scheduler"].step()
        for entry in entries:
            if entry["interval"] == "epoch":
                entry["scheduler"].step()
    return model, rates


@pytest.mark.filterwarnings("ignore")
@pytest.mark.parametrize("optimizer", OPTIMIZERS)
@pytest.mark.parametrize("scheduler", SCHEDULERS)
def test_eight_heads_end_where_eight_runs_end(
    optimizer: dict[str, Any], scheduler: dict[str, Any]
) -> None:
    config = cfg(optimizer=optimizer, scheduler=scheduler, label_smoothing=0.1)
    heads = heads_of(config)
    assert heads == [Head(*one) for one in product(RATES, DECAYS, [False, True])]
    together, rates = trained(config)
    assert isinstance(together, Heads)
    groups = len(rates[0]) // len(heads)  # two where biases have one of their own
    for i, head in enumerate(heads):
        alone, own = trained(single(config, head))
        assert type(alone) is Probe
        ours, theirs = together.classifiers[i].state_dict(), alone.classifier.state_dict()
        for key, value in theirs.items():
            assert torch.allclose(ours[key], value, rtol=0, atol=1e-6)
        if groups == 1:
            assert [one[i] for one in rates] == [one[0] for one in own]
    ends = [head.weight for head in together.classifiers]
    assert not any(torch.equal(ends[0], other) for other in ends[1:])


def test_all_heads_start_alike_as_a_single_probe_of_the_seed_does() -> None:
    heads = built(cfg(probe={"init": "normal"}))
    alone = built(single(cfg(probe={"init": "normal"}), heads_of(cfg())[0]))
    weights = [head.weight for head in heads.classifiers]  # type: ignore[union-attr]
    assert all(torch.equal(weight, alone.classifier.weight) for weight in weights)
    assert len({weight.data_ptr() for weight in weights}) == 8
    assert set(alone.state_dict()) == {"classifier.weight", "classifier.bias"}


@pytest.mark.filterwarnings("ignore")
def test_a_head_that_diverges_leaves_the_others_alone() -> None:
    wild = cfg(optimizer={"lr": [0.05, 1e38], "weight_decay": 0.0}, probe={"normalize": False})
    together, _ = trained(wild)
    assert not together.classifiers[1].weight.isfinite().all()  # type: ignore[union-attr]
    alone, _ = trained(single(wild, heads_of(wild)[0]))
    assert torch.equal(together.classifiers[0].weight, alone.classifier.weight)  # type: ignore[union-attr]
    x, y = torch.randn(8, WIDTH), torch.arange(8) % CLASSES
    loss = together.training_step([x, y], 0)
    together.eval()
    assert loss.item() == pytest.approx(together.shared_step([x, y], 0)["loss"][0].item())
    with torch.no_grad():
        together.classifiers[0].weight.fill_(float("nan"))  # type: ignore[union-attr]
    assert together.train().training_step([x, y], 0).isnan()  # and the run ends


def test_the_loss_is_a_mean_and_its_gradient_that_of_the_sum() -> None:
    model = built(cfg())
    model._trainer = None
    x, y = torch.randn(8, WIDTH), torch.arange(8) % CLASSES
    losses = model.shared_step([x, y], 0)["loss"]
    loss = model.training_step([x, y], 0)
    assert loss.item() == pytest.approx(losses.mean().item(), rel=1e-6)
    loss.backward()
    expected = torch.autograd.grad(losses.sum(), list(model.classifiers.parameters()))  # type: ignore[union-attr]
    for p, grad in zip(model.classifiers.parameters(), expected, strict=True):  # type: ignore[union-attr]
        assert p.grad is not None
        assert torch.equal(p.grad, grad)


@pytest.mark.filterwarnings("ignore")
def test_images_are_mixed_for_all_heads_as_for_one() -> None:
    mixed = cfg(mixup=0.8, cutmix=1.0, optimizer={"batch_size": 10}, scheduler={"name": "none"})
    backbone = nn.Sequential(nn.Conv2d(3, WIDTH, 4), nn.Flatten())
    backbone.num_features = WIDTH  # type: ignore[assignment]
    x, y = torch.rand(10, 3, 4, 4), torch.arange(10) % CLASSES
    found = []
    for config in (mixed, single(mixed, heads_of(mixed)[3])):
        torch.manual_seed(7)
        model = build_heads(backbone, config)
        model.training_step([x.clone(), y], 2).backward()
        found.append(model.classifiers[3] if isinstance(model, Heads) else model.classifier)
    assert torch.equal(found[0].weight.grad, found[1].weight.grad)


def test_unit_length() -> None:
    model = built(cfg(optimizer={"lr": 1.0, "weight_decay": 0.0}, probe={"normalize": True}))
    x = torch.randn(4, WIDTH)
    assert torch.allclose(model(x)["logits"], model(9 * x)["logits"], atol=1e-6)
    expected = model.classifier(x / x.norm(dim=1, keepdim=True))
    assert torch.allclose(model(x)["logits"], expected, atol=1e-6)


def test_an_exponential_decay_fits_each_head() -> None:
    with pytest.raises(ConfigError, match=r"scheduler\.min_lr is 0\.1: .* rate 0\.05"):
        built(cfg(scheduler={"name": "exponential", "min_lr": 0.1}))


def row(acc: float, loss: float, val: float) -> dict[str, float]:
    return {"holdout_acc1": acc, "holdout_loss": loss, "val_acc1": val, "val_acc5": 100.0}


def test_the_best_head_is_that_of_the_held_out_images_never_of_the_test_images() -> None:
    rows = [row(80, 1.0, 99), row(90, 0.9, 10), row(90, 0.5, 5), row(90, 0.5, 50)]
    assert best_head(rows) == 2
    assert best_head([{"diverged": True}, *rows]) == 3
    assert best_head([{"val_acc1": 3.0}]) is None


def test_the_table_tells_the_chosen_heads_own_best_epoch_and_outlives_its_process() -> None:
    heads = [Head(0.1, 0.0, False), Head(1.0, 0.0, True)]
    table = HeadTable(heads)
    assert table.told() == {}
    module = built(cfg())
    for epoch, rows in enumerate(
        [[row(50, 1, 99), row(40, 1, 60)], [row(60, 1, 70), row(70, 1, 80)], []]
    ):
        module.measured = rows or [row(61, 1, 65), row(75, 1, 77)]  # type: ignore[attr-defined]
        module.counts = {"val": 10, "holdout": 4}  # type: ignore[attr-defined]
        trainer: Any = SimpleNamespace(sanity_checking=False, current_epoch=epoch)
        table.on_validation_end(trainer, module)
    again = HeadTable(heads)
    again.load_state_dict(table.state_dict())
    told = again.told()
    assert told == table.told()
    assert told["heads"][0] == {**heads[0]._asdict(), **row(61, 1, 65)}
    assert told["heads_epoch"] == 2
    own = {"lr": 1.0, "weight_decay": 0.0, "normalize": True, "holdout_images": 4}
    assert told["chosen"] == {"head": 1, **own, "by": "holdout_acc1"}
    assert (told["best_epoch"], told["best_val_acc1"]) == (1, 80)  # not the 99 of another head
    assert told["best_metrics"]["val_acc1"] == {"value": 80, "epoch": 1}

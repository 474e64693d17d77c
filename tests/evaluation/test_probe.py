# SPDX-License-Identifier: MIT
"""Classifier, schedule, soft targets and cached batches of a probe."""

from __future__ import annotations

import copy
import pickle
from types import SimpleNamespace
from typing import Any

import pytest
import torch
from omegaconf import DictConfig, OmegaConf
from torch import nn

from mixmask_solo.config import ConfigError
from mixmask_solo.evaluation import features
from mixmask_solo.evaluation.features import CachedFeatures
from mixmask_solo.evaluation.probe import BestEpoch, Identity, Probe, SoftTargets


def cfg(**more: Any) -> DictConfig:
    base = {
        "data": {"num_classes": 4},
        "max_epochs": 5,
        "optimizer": {"name": "adam", "batch_size": 10, "lr": 1e-2, "weight_decay": 5e-6},
        "scheduler": {"name": "exponential", "min_lr": 1e-6},
        "performance": {"disable_channel_last": False},
        "probe": {"features": "cached", "init": "default"},
        "label_smoothing": 0.0,
        "mixup": 0.0,
        "cutmix": 0.0,
    }
    return OmegaConf.merge(base, OmegaConf.create(more))  # type: ignore[return-value]


def test_the_rate_falls_by_one_factor_each_epoch() -> None:
    model = Probe(Identity(3), cfg())
    model._trainer = SimpleNamespace(gradient_clip_val=None)
    [optimizer], [entry] = model.configure_optimizers()
    assert entry["interval"] == "epoch"
    rates = []
    for _ in range(5):
        rates.append(optimizer.param_groups[0]["lr"])
        optimizer.step()
        entry["scheduler"].step()
    factor = (1e-6 / 1e-2) ** (1 / 5)
    assert rates == pytest.approx([1e-2 * factor**e for e in range(5)])


@pytest.mark.parametrize("low", [0.0, 0.1])
def test_an_exponential_decay_needs_an_end(low: float) -> None:
    with pytest.raises(ConfigError, match=r"scheduler\.min_lr is"):
        Probe(Identity(3), cfg(scheduler={"min_lr": low}))


def test_the_papers_start() -> None:
    torch.manual_seed(0)
    model = Probe(Identity(2000), cfg(probe={"init": "normal"}))
    assert model.classifier.weight.std().item() == pytest.approx(0.01, rel=0.05)
    assert not model.classifier.bias.any()


def test_cached_features_pass_through_unchanged() -> None:
    model = Probe(Identity(3), cfg())
    x = torch.randn(5, 3)
    assert torch.equal(model(x)["feats"], x)


def test_label_smoothing() -> None:
    model = Probe(Identity(3), cfg(label_smoothing=0.2))
    _, soft = model.mixup_func(torch.zeros(2, 3), torch.tensor([3, 0]))
    expected = torch.tensor([[0.05, 0.05, 0.05, 0.85], [0.85, 0.05, 0.05, 0.05]])
    assert torch.allclose(soft, expected)


def test_mixup_wants_pairs() -> None:
    mixed = cfg(mixup=0.8, cutmix=1.0)
    x, soft = Probe(Identity(3), mixed).mixup_func(
        torch.rand(4, 3, 8, 8), torch.tensor([0, 1, 2, 3])
    )
    assert x.shape == (4, 3, 8, 8)
    assert torch.allclose(soft.sum(1), torch.ones(4))
    mixed.optimizer.batch_size = 5
    with pytest.raises(ConfigError, match="even number"):
        Probe(Identity(3), mixed)


@pytest.mark.filterwarnings("ignore")
@pytest.mark.parametrize(
    "more", [{}, {"label_smoothing": 0.2}, {"mixup": 0.8, "cutmix": 1.0}, {"finetune": True}]
)
def test_a_copy_trains_as_the_probe_does(more: dict[str, Any], elsewhere: Any) -> None:
    def loss(model: Any) -> torch.Tensor:
        value: torch.Tensor = model.training_step([x.clone(), targets], 3)
        return value

    torch.manual_seed(0)
    x, targets = torch.rand(10, 3, 4, 4), torch.arange(10) % 4
    backbone = nn.Sequential(nn.Conv2d(3, 6, 3), nn.BatchNorm2d(6), nn.Flatten())
    backbone.num_features = 24  # type: ignore[assignment]
    model = Probe(backbone, cfg(**more))
    fresh = pickle.dumps(model)
    loss(model).backward()
    with torch.no_grad():
        model.classifier.weight -= model.classifier.weight.grad
    far = elsewhere(
        "model.training_step([x, targets], 3).item()", model=model, x=x, targets=targets
    )
    copies = [copy.deepcopy(model), pickle.loads(pickle.dumps(model))]
    expected = loss(model)
    assert all(torch.equal(loss(other), expected) for other in copies)
    assert far == expected.item()
    assert not torch.equal(loss(pickle.loads(fresh)), expected)


def cached(n: int = 23, seed: int = 1) -> CachedFeatures:
    rows = torch.arange(n).float().unsqueeze(1)
    return CachedFeatures((rows, torch.arange(n)), (rows, torch.arange(n)), 5, seed)


def test_an_epoch_of_cached_features_is_a_shuffle_with_a_last_smaller_batch() -> None:
    loader = cached().train_dataloader()
    batches = list(loader)
    assert len(batches) == len(loader) == 5
    assert [len(y) for _, y in batches] == [5, 5, 5, 5, 3]
    labels = torch.cat([y for _, y in batches])
    assert sorted(labels.tolist()) == list(range(23))
    assert labels.tolist() != list(range(23))
    assert all(torch.equal(x[:, 0], y.float()) for x, y in batches)


def test_order_is_a_function_of_seed_and_epoch(monkeypatch: pytest.MonkeyPatch) -> None:
    def order(epoch: int, seed: int = 1, start: int = 0) -> list[int]:
        data = cached(seed=seed)
        data.trainer = SimpleNamespace()  # type: ignore[assignment]
        monkeypatch.setattr(features, "position", lambda trainer: (epoch, start))
        return torch.cat([y for _, y in data.train_dataloader()]).tolist()

    assert order(3) == order(3)
    assert order(3) != order(4)
    assert order(3) != order(3, seed=2)
    assert order(3, start=2) == order(3)[10:]


def test_validation_features_stay_in_order() -> None:
    loader = cached(n=5000).val_dataloader()
    assert [len(y) for _, y in loader] == [4096, 904]
    assert torch.equal(torch.cat([y for _, y in loader]), torch.arange(5000))


def test_the_first_of_the_best_epochs_counts_and_survives_a_checkpoint() -> None:
    best = BestEpoch()

    def validate(epoch: int, acc1: float, sanity: bool = False) -> None:
        metrics = {"val_acc1": torch.tensor(acc1), "val_acc5": torch.tensor(acc1 + 1)}
        trainer = SimpleNamespace(
            sanity_checking=sanity, callback_metrics=metrics, current_epoch=epoch
        )
        best.on_validation_end(trainer, None)  # type: ignore[arg-type]

    validate(0, 99.0, sanity=True)
    for epoch, acc1 in enumerate([10.0, 30.0, 30.0, 20.0]):
        validate(epoch, acc1)
    assert best.best == {"best_epoch": 1, "best_val_acc1": 30.0, "best_val_acc5": 31.0}
    resumed = BestEpoch()
    resumed.load_state_dict(best.state_dict())
    assert resumed.best == best.best


@pytest.mark.parametrize("key", ["mixup", "cutmix"])
def test_a_last_batch_that_is_kept_may_be_odd(key: str) -> None:
    cfg = {"mixup": 0.0, "cutmix": 0.0, "label_smoothing": 0.0, key: 0.2}
    cfg |= {"data": {"num_classes": 8, "last_batch": "keep"}, "optimizer": {"batch_size": 8}}
    with pytest.raises(ConfigError, match=rf"data.last_batch is keep and {key} is 0.2: it pairs"):
        SoftTargets(OmegaConf.create(cfg))

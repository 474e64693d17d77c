# SPDX-License-Identifier: MIT
"""The built-in host against solo-learn itself: outputs, losses, optimisers, whole runs."""

from __future__ import annotations

from copy import deepcopy
from typing import Any

import pytest
import torch
from lightning.pytorch import Trainer
from torch.utils.data import DataLoader, Dataset

from mixmask_solo.host import load

pytestmark = pytest.mark.solo


@pytest.fixture
def pair(solo_host, method, make_cfg, class_of):
    """``pair(**changes)``: the method on solo-learn and built in, with the same weights."""

    def make(**changes: Any) -> tuple[Any, Any]:
        theirs = class_of(solo_host, method)(make_cfg(method, **changes))
        ours = class_of(load("builtin"), method)(make_cfg(method, **changes))
        ours.load_state_dict(theirs.state_dict())
        return theirs, ours

    return make


def close(actual: torch.Tensor, expected: torch.Tensor, tolerance: float = 1e-5) -> None:
    torch.testing.assert_close(actual, expected, rtol=tolerance, atol=tolerance)


def test_outputs_losses_and_gradients(pair, batch):
    """Keys alone would miss a stem with another padding."""
    theirs, ours = (model.double() for model in pair())
    batch[1] = [view.double() for view in batch[1]]
    close(ours(batch[1][0])["feats"], theirs(batch[1][0])["feats"], 1e-9)
    expected, actual = (model.training_step(deepcopy(batch), 0) for model in (theirs, ours))
    close(actual, expected, 1e-9)
    expected.backward()
    actual.backward()
    grads = {name: p.grad for name, p in theirs.named_parameters()}
    for name, p in ours.named_parameters():
        assert (p.grad is None) == (grads[name] is None), name
        if p.grad is not None:
            close(p.grad, grads[name], 1e-8)
    for (_, a), (_, b) in zip(ours.named_buffers(), theirs.named_buffers(), strict=True):
        close(a, b, 1e-9)


def test_weights_travel_both_ways(pair):
    theirs, ours = pair()
    assert not theirs.load_state_dict(ours.state_dict()).missing_keys
    assert [n for n, _ in theirs.named_parameters()] == [n for n, _ in ours.named_parameters()]


class Views(Dataset):
    """Sixteen fixed samples of four classes."""

    def __init__(self, train: bool) -> None:
        self.train = train

    def __len__(self) -> int:
        return 16

    def __getitem__(self, i: int) -> Any:
        generator = torch.Generator().manual_seed(i)
        views = list(torch.rand(2, 3, 8, 8, generator=generator, dtype=torch.float64))
        return (i, views, i % 4) if self.train else (views[0], i % 4)


def fit(model: Any, folder: Any) -> dict[str, float]:
    trainer = Trainer(
        max_epochs=2,
        accelerator="cpu",
        logger=False,
        default_root_dir=folder,
        enable_checkpointing=False,
        enable_progress_bar=False,
        enable_model_summary=False,
    )
    trainer.fit(model, *(DataLoader(Views(train), 4) for train in (True, False)))
    return {name: float(value) for name, value in trainer.callback_metrics.items()}


OPTIMIZERS: dict[str, dict[str, Any]] = {
    "sgd": {},
    "lars": {"eta": 0.02, "clip_lr": True, "exclude_bias_n_norm": True, "momentum": 0.9},
    "adamw": {"betas": [0.9, 0.95]},
}


@pytest.mark.parametrize("optimizer", list(OPTIMIZERS))
def test_two_epochs_end_with_the_same_weights(pair, tmp_path, optimizer):
    """Eight steps in all: schedule, optimiser, moving average and queue in one."""
    changes = {
        "optimizer.name": optimizer,
        "optimizer.kwargs": {"momentum": 0.9} if optimizer == "sgd" else OPTIMIZERS[optimizer],
        "optimizer.lr": 1e-3 if optimizer == "adamw" else 0.02,
        "knn_eval.enabled": True,
        "knn_eval.k": 16,  # with fewer, classes without any vote would tie
    }
    theirs, ours = (model.double() for model in pair(**changes))
    expected, actual = fit(theirs, tmp_path), fit(ours, tmp_path)
    assert set(expected) == set(actual)
    for name, value in expected.items():
        assert actual[name] == pytest.approx(value, rel=1e-6, abs=1e-6), name
    state = theirs.state_dict()
    for name, value in ours.state_dict().items():
        close(value, state[name], 1e-6)

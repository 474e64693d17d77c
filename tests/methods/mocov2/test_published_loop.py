# SPDX-License-Identifier: MIT
"""Whole steps against the published order: query, moving average, key, losses, queue, optimiser."""

from __future__ import annotations

from copy import deepcopy
from typing import Any

import pytest
import torch
import torch.nn.functional as F
from lightning.pytorch import Trainer
from torch import Tensor, nn
from torch.utils.data import DataLoader, Dataset

from mixmask_solo.networks import split_batch_norm
from mixmask_solo.strategies import Step, seeded

STEPS, N, TAU, LR, DECAY = 3, 8, 0.9, 0.1, 1e-3
SEED = 1  # of the configuration
BLOCKS = {"unmix": {"prob": 0.5}, "mixmask": {"grid_size": 2, "mask_type": "discrete"}}


class Views(Dataset[Any]):
    """Two fixed views an image, without labels, so that the classifier adds nothing."""

    def __len__(self) -> int:
        return STEPS * N

    def __getitem__(self, i: int) -> Any:
        generator = torch.Generator().manual_seed(i)
        return i, list(torch.randn(2, 3, 8, 8, generator=generator, dtype=torch.float64)), -1


def published(start: Any, symmetric: bool) -> tuple[list[float], Any, Any, Tensor]:
    """The loop of the published code in one process: losses, both encoders, queue.

    Each direction forwards its query, then every mixture of view 1 once more, then its key. Taken
    from the package are only the random draws: mixtures, and which permutation a key batch gets.
    """
    query = nn.Sequential(deepcopy(start.backbone), deepcopy(start.projector))
    key = nn.Sequential(deepcopy(start.momentum_backbone), deepcopy(start.momentum_projector))
    queue, temperature = start.queue.clone(), start.temperature
    optimizer = torch.optim.SGD(query.parameters(), LR, momentum=0.9, weight_decay=DECAY)
    losses = []

    def average() -> None:
        with torch.no_grad():
            for p, k in zip(query.parameters(), key.parameters(), strict=True):
                k.copy_(TAU * k + (1 - TAU) * p)

    def keys_of(x: Tensor, step: int, call: int) -> Tensor:
        order = torch.randperm(N, generator=seeded(SEED, 0, step, f"mocov2.shuffle.{call}"))
        with torch.no_grad():
            shuffled = F.normalize(key(x[order]))
        rows = torch.empty_like(shuffled)
        rows[order] = shuffled
        return rows

    def nce(q: Tensor, k: Tensor) -> Tensor:
        logits = torch.cat([(q * k).sum(1, keepdim=True), q @ queue], 1) / temperature
        return F.cross_entropy(logits, torch.zeros(N, dtype=torch.long))

    def direction(x_q: Tensor, x_k: Tensor, mixtures: list[Any], *at: int) -> tuple[Tensor, Tensor]:
        q = F.normalize(query(x_q))
        mixed = [F.normalize(query(images)) for images, _, _ in mixtures]
        k = keys_of(x_k, *at)
        loss = nce(q, k)
        for z, (_, lam, partner) in zip(mixed, mixtures, strict=True):
            share = lam.flatten()[0]
            loss = loss + share * nce(z, k) + (1 - share) * nce(z[partner.argsort()], k)
        return loss, k

    for step, (_, (x1, x2), _) in enumerate(DataLoader(Views(), N)):
        average()
        draws = Step(SEED, 0, step, 0, torch.device("cpu"))
        mixtures = [
            b.mixture for s in start.strategies.values() for b in s.branches([x1, x2], draws)
        ]
        loss, new = direction(x1, x2, mixtures, step, 0)
        if symmetric:
            other, k1 = direction(x2, x1, mixtures, step, 1)
            loss, new = loss + other, torch.cat([k1, new])
        at = step * len(new) % queue.shape[1]
        optimizer.zero_grad()
        loss.backward()
        queue[:, at : at + len(new)] = new.T
        optimizer.step()
        losses.append(loss.item())
    average()  # what the next step would begin with
    return losses, query, key, queue


def shrink(model: Any, splits: int) -> None:
    """A small network in the place of ResNet-18: the order of a step is not about its size."""
    backbone = nn.Sequential(
        *(nn.Conv2d(3, 8, 3), nn.BatchNorm2d(8), nn.ReLU()),
        *(nn.Conv2d(8, 8, 3), nn.BatchNorm2d(8), nn.ReLU(), nn.AdaptiveAvgPool2d(1), nn.Flatten()),
    )
    split_batch_norm(backbone, splits)
    model.backbone, model.projector, model.classifier = backbone, nn.Linear(8, 8), nn.Linear(8, 10)
    for name in ("backbone", "projector"):
        copy = deepcopy(getattr(model, name)).requires_grad_(False)
        setattr(model, f"momentum_{name}", copy)


@pytest.mark.filterwarnings("ignore")
@pytest.mark.parametrize(("symmetric", "splits"), [(False, 1), (False, 2), (True, 1), (True, 2)])
@pytest.mark.parametrize("blocks", [(), ("unmix",), ("mixmask",), ("unmix", "mixmask")])
def test_the_hosts_order_trains_the_same(
    make_model: Any,
    tmp_path: Any,
    monkeypatch: pytest.MonkeyPatch,
    symmetric: bool,
    splits: int,
    blocks: tuple[str, ...],
) -> None:
    model = make_model(
        **{name: BLOCKS[name] for name in blocks},
        symmetric=symmetric,
        bn_splits=splits,
        momentum={"base_tau": TAU},
        optimizer={"lr": LR, "weight_decay": DECAY, "kwargs": {"momentum": 0.9}},
    )
    shrink(model, splits)
    model.double()
    expected, query, key, queue = published(model, symmetric)

    seen: list[float] = []
    step = type(model).training_step

    def training_step(self: Any, batch: Any, batch_idx: int) -> Any:
        loss = step(self, batch, batch_idx)
        seen.append(loss.item())
        return loss

    monkeypatch.setattr(type(model), "training_step", training_step)
    trainer = Trainer(
        max_epochs=1,
        accelerator="cpu",
        logger=False,
        default_root_dir=tmp_path,
        enable_checkpointing=False,
        enable_progress_bar=False,
        enable_model_summary=False,
    )
    trainer.fit(model, DataLoader(Views(), N))

    assert seen == pytest.approx(expected, abs=1e-9)
    torch.testing.assert_close(model.queue, queue, rtol=0, atol=1e-9)
    for ours, theirs in (
        ((model.backbone, model.projector), query),
        ((model.momentum_backbone, model.momentum_projector), key),
    ):
        state = nn.Sequential(*ours).state_dict()
        for name, value in theirs.state_dict().items():  # BatchNorm's statistics among them
            torch.testing.assert_close(state[name], value, rtol=1e-9, atol=1e-9)

# SPDX-License-Identifier: MIT
"""On either host, images of our data without a label count in no loss, accuracy or bank."""

from __future__ import annotations

from typing import Any

import pytest
import torch
from lightning.pytorch import LightningDataModule, Trainer
from torch.utils.data import DataLoader, TensorDataset

from mixmask_solo.methods import get_methods

LABELS = torch.tensor([-1, -1, -1, -1, 0, -1, 2, 3])  # two batches of four


class Data(LightningDataModule):
    def __init__(self, labels: torch.Tensor, told: str) -> None:
        super().__init__()
        self.labels, self.train_labels = labels, told
        self.images = torch.rand(2, 8, 3, 8, 8, generator=torch.Generator().manual_seed(0))

    def train_dataloader(self) -> Any:
        rows = list(zip(torch.arange(8), zip(*self.images, strict=True), self.labels, strict=True))
        return DataLoader(rows, 4, collate_fn=_collate)  # type: ignore[arg-type]

    def val_dataloader(self) -> Any:
        known = self.labels != -1
        return DataLoader(TensorDataset(self.images[0][known], self.labels[known]), 4)


def _collate(rows: list[Any]) -> list[Any]:
    indexes, views, labels = zip(*rows, strict=True)
    views = [torch.stack(view) for view in zip(*views, strict=True)]
    return [torch.stack(indexes), views, torch.stack(labels)]


@pytest.mark.parametrize("told", ["some", "none"])
def test_unlabelled_images(host: Any, make_cfg: Any, told: str) -> None:
    knn = {"enabled": True, "k": 2, "distance_func": "cosine"}
    torch.manual_seed(0)
    model = get_methods(host.name)["simclr"](make_cfg("simclr", **{"knn_eval": knn}))
    labels = LABELS if told == "some" else torch.full((8,), -1)
    rows: list[Any] = []
    original = model.base_training_step

    def step(x: Any, targets: Any) -> Any:
        out = original(x, targets)
        rows.append((out["logits"].detach(), targets))
        return out

    model.base_training_step = step
    trainer = Trainer(
        max_epochs=1,
        accelerator="cpu",
        logger=False,
        enable_checkpointing=False,
        enable_progress_bar=False,
        enable_model_summary=False,
        num_sanity_val_steps=0,
        limit_val_batches=1.0 if told == "some" else 0,
    )
    trainer.fit(model, datamodule=Data(labels, told))
    found = {name: float(value) for name, value in trainer.callback_metrics.items()}
    assert all(torch.tensor(list(found.values())).isfinite())
    if told == "none":
        assert not [name for name in found if "acc" in name or "class" in name]
        return
    logits, targets = (torch.cat(x) for x in zip(*rows, strict=True))
    keep = targets != -1
    hits = (logits[keep].argmax(1) == targets[keep]).float().mean()
    loss = torch.nn.functional.cross_entropy(logits[keep], targets[keep])
    assert found["train_acc1_epoch"] == pytest.approx(100 * float(hits), rel=1e-5)
    assert found["train_class_loss_epoch"] == pytest.approx(float(loss), rel=1e-5)
    assert found["val_knn_acc1"] in (0.0, pytest.approx(100 / 3), pytest.approx(200 / 3), 100.0)

# SPDX-License-Identifier: MIT
"""Images without a label count in no mean: neither of a batch, nor of an epoch, nor of ranks."""

from __future__ import annotations

import socket
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
import torch
import torch.distributed as dist
from lightning.pytorch import Callback, LightningDataModule, Trainer
from torch.utils.data import DataLoader, Dataset

from mixmask_solo.host import load
from mixmask_solo.host.builtin import WeightedKNN
from mixmask_solo.host.builtin.labelled import class_metrics, labelled_means

LABELS = [0, -1, -1, -1, 1, 2, 0, 1]  # two batches: one of four labelled, and four of four
CPU = torch.device("cpu")


class Views(Dataset):
    """Fixed images; a training item is (index, views, label)."""

    def __init__(self, labels: list[int], train: bool) -> None:
        self.labels, self.train = labels, train

    def __len__(self) -> int:
        return len(self.labels)

    def __getitem__(self, i: int) -> Any:
        views = list(torch.rand(2, 3, 8, 8, generator=torch.Generator().manual_seed(i)))
        return (i, views, self.labels[i]) if self.train else (views[0], self.labels[i])


class Data(LightningDataModule):
    def __init__(self, train: list[int], val: list[int], batch: int = 4) -> None:
        super().__init__()
        self.sets, self.batch = (train, val), batch

    def train_dataloader(self) -> Any:
        return DataLoader(Views(self.sets[0], True), self.batch)

    def val_dataloader(self) -> Any:
        return DataLoader(Views(self.sets[1], False), self.batch)


class Seen(Callback):
    """Logits of the classifier, with the labels they were measured on."""

    def __init__(self, model: Any) -> None:
        self.rows: dict[bool, list[Any]] = {True: [], False: []}
        original = model._base_shared_step

        def step(x: Any, targets: Any) -> Any:
            out = original(x, targets)
            self.rows[model.training].append((out["logits"].detach(), targets))
            return out

        model._base_shared_step = step

    def expected(self, training: bool) -> tuple[float, float]:
        """Loss and accuracy over the labelled rows of both batches together."""
        logits, targets = (torch.cat(x) for x in zip(*self.rows[training], strict=True))
        keep = targets != -1
        loss = torch.nn.functional.cross_entropy(logits[keep], targets[keep])
        hits = (logits[keep].argmax(1) == targets[keep]).float().mean()
        return float(loss), 100 * float(hits)


def fit(make_cfg: Any, data: LightningDataModule, method: str = "simclr") -> tuple[Any, Seen]:
    torch.manual_seed(0)
    knn = {"enabled": True, "k": 3, "distance_func": "cosine"}
    cfg = make_cfg(method, **{"knn_eval": knn, "max_epochs": 1, "scheduler.warmup_epochs": 0})
    model = load("builtin").methods[method](cfg)
    seen = Seen(model)
    trainer = Trainer(
        max_epochs=1,
        accelerator="cpu",
        logger=False,
        enable_checkpointing=False,
        enable_progress_bar=False,
        enable_model_summary=False,
        num_sanity_val_steps=0,
    )
    trainer.fit(model, datamodule=data)
    return trainer, seen


def test_means_are_over_labelled_images(make_cfg: Any) -> None:
    trainer, seen = fit(make_cfg, Data(LABELS, LABELS))
    found = {name: float(value) for name, value in trainer.callback_metrics.items()}
    loss, acc1 = seen.expected(training=True)
    assert found["train_class_loss_epoch"] == pytest.approx(loss, rel=1e-5)
    assert found["train_acc1_epoch"] == pytest.approx(acc1, rel=1e-5)
    loss, acc1 = seen.expected(training=False)
    assert found["val_loss"] == pytest.approx(loss, rel=1e-5)
    assert found["val_acc1"] == pytest.approx(acc1, rel=1e-5)
    assert 0 <= found["val_knn_acc1"] <= 100


def test_what_nothing_is_measured_of_is_not_logged(make_cfg: Any) -> None:
    trainer, _ = fit(make_cfg, Data([-1] * 8, [-1] * 8))
    names = {name.removesuffix("_step").removesuffix("_epoch") for name in trainer.callback_metrics}
    assert not [name for name in names if "acc" in name or "class" in name or "val" in name]
    assert "train_nce_loss" in names


def test_a_batch_without_labels_leaves_the_others_alone(make_cfg: Any) -> None:
    trainer, seen = fit(make_cfg, Data([-1] * 4 + [0, 1, 2, 0], [0, 1, 2, 0] + [-1] * 4))
    found = trainer.callback_metrics
    assert float(found["train_acc1_epoch"]) == pytest.approx(seen.expected(training=True)[1])
    assert float(found["val_loss"]) == pytest.approx(seen.expected(training=False)[0], rel=1e-5)


def test_a_momentum_classifier_counts_the_same(make_cfg: Any) -> None:
    cfg = make_cfg("byol", **{"momentum.classifier": True})
    model = load("builtin").methods["byol"](cfg)
    out = model._shared_step_momentum(torch.rand(4, 3, 8, 8), torch.tensor([-1, 1, -1, -1]))
    assert float(out["acc1"]) in (0.0, 100.0)


@pytest.mark.parametrize(
    ("targets", "acc1"), [([0, -1, -1, 3], 100), ([0, 0, -1, 3], 200 / 3), ([-1] * 4, 0)]
)
def test_metrics_of_a_batch(targets: list[int], acc1: float) -> None:
    found = class_metrics(torch.eye(4, 6), torch.tensor(targets))
    any_label = max(targets) >= 0
    assert float(found["acc1"]) == pytest.approx(acc1)
    assert float(found["acc5"]) == 100 * any_label
    assert bool(found["loss"] > 0) == any_label


def share(rank: int) -> tuple[list[dict[str, Any]], WeightedKNN, int]:
    """Rank 1 has validated nothing; both have some of the bank."""
    generator = torch.Generator().manual_seed(3)
    features, labels = torch.randn(40, 6, generator=generator), torch.arange(40) % 3
    features += 2 * torch.eye(6)[labels]
    labels[::7] = -1
    tests, targets = features[:10] + 0.1, labels[:10]
    outputs = [{"batch_size": 3, "acc": 50.0}, {"batch_size": torch.tensor(1), "acc": 100.0}]
    metric = WeightedKNN(5, "cosine")
    rows = (
        [slice(0, 25), slice(25, 40)]
        if rank < 0
        else [slice(0, 25) if rank == 0 else slice(25, 40)]
    )
    for part in rows:
        metric.update(features[part], labels[part])
    if rank < 1:
        metric.update(None, None, tests, targets)
    return outputs if rank < 1 else [], metric, rank


def worker(rank: int, port: int, folder: str) -> None:
    dist.init_process_group("gloo", f"tcp://127.0.0.1:{port}", rank=rank, world_size=2)
    outputs, metric, _ = share(rank)
    means, _ = labelled_means(outputs, ["acc"], CPU)
    torch.save((float(means["acc"]), *metric.compute()), Path(folder) / f"{rank}.pt")
    dist.destroy_process_group()


def test_two_processes_sum_over_images(tmp_path: Path) -> None:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port = probe.getsockname()[1]
    command = [sys.executable, __file__, str(port), str(tmp_path)]
    processes = [subprocess.Popen([*command, str(rank)]) for rank in range(2)]
    outputs, metric, _ = share(-1)
    expected = (float(labelled_means(outputs, ["acc"], CPU)[0]["acc"]), *metric.compute())
    assert expected[0] == 62.5
    assert [process.wait(timeout=120) for process in processes] == [0, 0]
    for rank in range(2):
        assert torch.load(tmp_path / f"{rank}.pt") == pytest.approx(expected)


if __name__ == "__main__":
    worker(int(sys.argv[3]), int(sys.argv[1]), sys.argv[2])

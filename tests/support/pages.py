# SPDX-License-Identifier: MIT
"""Run folders that nobody has trained, and pages read as a browser reads them."""

from __future__ import annotations

import json
import math
from collections.abc import Sequence
from html.parser import HTMLParser
from pathlib import Path
from typing import Any

__all__ = ["Parsed", "run_folder"]
_VOID = {"meta", "link", "img", "br", "input"}
STEPS = 10  # an epoch


def run_folder(
    folder: Path,
    *,
    name: str = "simclr-mixmask",
    seed: int = 1,
    epochs: int = 3,
    blocks: dict[str, Any] | None = None,
    every: int = 5,
    **result: Any,
) -> Path:
    """A pretraining run with ``metrics.csv`` and ``result.json``; losses fall with the seed."""
    blocks = {"mixmask": {"grid_size": 2, "prob": 1.0}} if blocks is None else blocks
    folder.mkdir(parents=True)
    lines = ["step,epoch,train_lr,train_loss_step,train_loss_epoch,val_knn_acc1,val_acc1"]
    for epoch in range(epochs):
        for step in range(epoch * STEPS, (epoch + 1) * STEPS, every):
            lines.append(f"{step},{epoch},{0.1 / (step + 1)},{9 / (step + seed)},,,")
        last = (epoch + 1) * STEPS - 1
        lines.append(f"{last},{epoch},,,{9 / (epoch + seed)},{50 + 10 * epoch + seed},40.0")
    (folder / "metrics.csv").write_text("\n".join(lines) + "\n")
    acc = 50.0 + 10 * (epochs - 1) + seed
    told = {
        "id": f"{name}-{seed}-{folder.name}",
        "status": "completed",
        "heartbeat": "2026-01-02T03:04:05+00:00",
        "metrics": {"val_knn_acc1": acc, "val_acc1": 40.0, "train_embedding_std": 0.08},
        "metrics_epoch": epochs - 1,
        "best_metrics": {"val_knn_acc1": {"value": acc, "epoch": epochs - 1}},
        "knn": {"features": "backbone", "distance": "cosine", "k": 20, "acc1": 80.0 + seed},
        "wall_seconds": 90.0,
        "images_per_second": 100.0,
        "epochs": epochs,
        "steps": epochs * STEPS,
        "learning_rates": {"backbone": 0.3},
        "pieces": [
            {"status": "killed", "steps": 10, "images": 1000, "train_seconds": 20.0,
             "wall_seconds": 30.0, "started": "2026-01-02T03:00:00+00:00"},
            {"status": "completed", "steps": 20, "images": 2000, "train_seconds": 50.0,
             "wall_seconds": 60.0, "started": "2026-01-02T03:01:00+00:00"},
        ],
        "seed": seed,
        "provenance": {
            "date": "2026-01-02T03:00:00+00:00",
            "command": "mixmask-pretrain --config-path scripts/pretrain/x --config-name y seed=1",
            "overrides": [f"seed={seed}"],
            "machine": "node7",
            "commit": "0123456789abcdef",
            "dirty": True,
        },
        "versions": {"python": "3.11.7", "torch": "2.9.0", "device": "H100"},
        "processes": 2,
        "host": "builtin",
        "data": {"train": {"images": 2 * 16 * STEPS, "classes": 4}},
        "config": {
            "name": name,
            "seed": seed,
            "method": "simclr",
            "max_epochs": epochs,
            "data": {"dataset": "digits"},
            "backbone": {"name": "resnet18"},
            "optimizer": {"name": "sgd", "batch_size": 16, "lr": 0.3, "weight_decay": 1e-4},
            "scheduler": {"name": "warmup_cosine", "warmup_epochs": 1.0},
            "checkpoint": {"dir": str(folder.parent)},
            "method_kwargs": {"temperature": 0.2, **blocks},
        },
        **result,
    }  # fmt: skip
    (folder / "result.json").write_text(json.dumps(told))
    return folder


class Parsed(HTMLParser):
    """A page's elements: ``text`` of what is read, ``loads`` of what it would load, ``data`` of
    its charts, ``open`` what was not closed."""

    def __init__(self, html: str) -> None:
        super().__init__()
        self.words: list[str] = []
        self.loads: list[str] = []
        self.scripts: list[str] = []
        self.styles: list[str] = []
        self.policy = ""
        self.tags: list[str] = []
        self.open: list[str] = []
        self.feed(html)
        self.close()

    @property
    def text(self) -> str:
        return " ".join(" ".join(self.words).split())

    @property
    def data(self) -> Any:
        return json.loads(self.scripts[0])

    def handle_starttag(self, tag: str, attrs: Sequence[tuple[str, str | None]]) -> None:
        told = {key: value or "" for key, value in attrs}
        self.tags.append(tag)
        self.loads += [told[key] for key in ("src", "srcset") if key in told]
        self.loads += [told["href"]] if tag == "link" else []
        self.styles += [told["style"]] if "style" in told else []
        if told.get("http-equiv") == "Content-Security-Policy":
            self.policy = told["content"]
        if tag not in _VOID:
            self.open.append(tag)

    def handle_endtag(self, tag: str) -> None:
        assert self.open.pop() == tag

    def handle_data(self, data: str) -> None:
        inside = self.open[-1] if self.open else ""
        lists = {"script": self.scripts, "style": self.styles}
        lists.get(inside, self.words).append(data)


def wave(count: int) -> list[tuple[float, float]]:
    """Points with one peak and one pit that any thinning by chance would lose."""
    points = [(float(i), math.sin(i / 50)) for i in range(count)]
    points[count // 3] = (count // 3, 7.0)
    points[count // 2] = (count // 2, -7.0)
    return points

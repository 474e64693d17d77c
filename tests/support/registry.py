# SPDX-License-Identifier: MIT
"""Folders of runs that nobody trained."""

from __future__ import annotations

import json
import os
from datetime import datetime, timezone
from pathlib import Path
from typing import Any

__all__ = ["PAST", "config", "record", "write_run"]

PAST = 1_600_000_000  # seconds; files of the last moments are not kept in an index


def config(method: str = "simclr", **more: Any) -> dict[str, Any]:
    """A resolved configuration, some of it."""
    return {
        "method": method,
        "method_kwargs": {"temperature": 0.2},
        "data": {"dataset": "digits", "num_workers": "auto"},
        "augmentations": [{"crop_size": 32, "color_jitter": {"prob": 0.8}}],
        "optimizer": {"name": "sgd", "lr": 0.1, "kwargs": {"betas": [0.9, 0.999]}},
        "max_epochs": 4,
        "seed": 0,
        "name": f"{method}-digits",
        "checkpoint": {"dir": "trained_models"},
        **more,
    }


def record(status: str = "completed", *, knn: float | None = None, **more: Any) -> dict[str, Any]:
    """What its ``result.json`` holds, some of it."""
    date = "2026-01-02T03:04:05+00:00"
    evaluated = {} if knn is None else {"knn": {"features": "backbone", "k": 20, "acc1": knn}}
    return {
        "schema": 1,
        "status": status,
        "process": {"pid": 1, "host": "elsewhere"},
        "heartbeat": date,
        "metrics": {"val_acc1": 80.0, "val_loss": 0.5, "val_knn_acc1": 60.0},
        "metrics_epoch": 3,
        "epochs": 4,
        "seed": 0,
        "pieces": [{"status": status}],
        "provenance": {"date": date, "command": "mixmask-pretrain a b"},
        "config": config(),
        **evaluated,
        **more,
    }


def write_run(folder: Path, content: dict[str, Any] | str | None = None, at: int = PAST) -> Path:
    """Writes its ``result.json``, last changed at a time of its own; returns the folder."""
    folder.mkdir(parents=True, exist_ok=True)
    text = content if isinstance(content, str) else json.dumps(content or record())
    (folder / "result.json").write_text(text)
    os.utime(folder / "result.json", (at, at))
    return folder


def alive() -> dict[str, Any]:
    """Entries of a run that is running now, on another machine."""
    return {"heartbeat": datetime.now(timezone.utc).isoformat(timespec="seconds")}

# SPDX-License-Identifier: MIT
"""One run, as everything that writes for it sees it."""

from __future__ import annotations

import time
import uuid
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from filelock import FileLock
from omegaconf import DictConfig, OmegaConf

from mixmask_solo import __version__
from mixmask_solo.records.checkpoints import LAST
from mixmask_solo.records.files import plain_name

__all__ = ["Run", "new_directory"]


@dataclass
class Run:
    """Where a run lives, what it is, and what it goes on from.

    Attributes:
        cfg: the resolved configuration.
        data: what tells its images from others, see ``data.identity``.
        processes: training processes.
        host: whose classes run it.
        directory: its folder; on other ranks, rank zero's once the trainer is set up.
        id: told by ``result.json`` and by every checkpoint, so that a file is known as its own.
        checkpoint: to go on from, None for a new run.
        steps: optimiser steps done in it.
        saved: what the callbacks put into it.
        finished: nothing is left to do.
        lock: held while the run goes, on rank zero.
    """

    cfg: DictConfig
    data: dict[str, Any]
    processes: int
    host: str
    directory: Path
    id: str = field(default_factory=lambda: uuid.uuid4().hex[:12])
    checkpoint: Path | None = None
    steps: int = 0
    saved: dict[str, Any] = field(default_factory=dict)
    finished: bool = False
    lock: FileLock | None = None

    @property
    def last(self) -> Path:
        """The newest checkpoint, where there is one."""
        return self.directory / LAST

    def release(self) -> None:
        """Lets others at the folder."""
        if self.lock is not None:
            self.lock.release()
            self.lock = None

    @property
    def config(self) -> dict[str, Any]:
        """The resolved configuration as plain values."""
        return OmegaConf.to_container(self.cfg, resolve=True)  # type: ignore[return-value]

    def told(self) -> dict[str, Any]:
        """What a record has to say so that only this run goes on from it."""
        return {
            "id": self.id,
            "version": __version__,
            "processes": self.processes,
            "host": self.host,
            "data": self.data,
            "config": self.config,
        }


def new_directory(root: Path, name: str) -> Path:
    """A fresh folder's name, plain whatever the run is called."""
    unique = f"{time.strftime('%Y%m%d-%H%M%S')}-{uuid.uuid4().hex[:6]}"
    return root / f"{plain_name(name)}-{unique}"

# SPDX-License-Identifier: MIT
"""One run, where it lives and what it goes on from, and the folder it has to itself."""

import os
import socket
import time
import uuid
from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from filelock import FileLock, Timeout
from omegaconf import DictConfig, OmegaConf

from mixmask_solo import __version__
from mixmask_solo.config import ConfigError
from mixmask_solo.config.files import plain_name, read_json, write_json
from mixmask_solo.jobs.variables import RUN
from mixmask_solo.records.checkpoints import LAST
from mixmask_solo.records.registry.processes import process_exists
from mixmask_solo.records.result import this_process

_HOLDER = ".holder.json"
_LONGEST = 100  # characters of a folder's name ahead of seed and date
_GRACE = 15.0  # seconds until the workers of a killed process notice, which hold its lock
_PATIENCE = 120.0  # seconds for a job's earlier attempt to end, whose node may be out of reach


@dataclass
class Run:
    cfg: DictConfig  # resolved
    data: dict[str, Any]  # what tells its images from others, see identity in data
    host: str  # whose classes run it
    directory: Path  # its folder; on other ranks, rank zero's once the trainer is set up
    processes: int = 1
    writes: bool = True  # this process is the one that does
    # told by result.json and by every checkpoint, so that a file is known as its own
    id: str = field(default_factory=lambda: uuid.uuid4().hex[:12])
    checkpoint: Path | None = None  # to go on from
    steps: int = 0  # of the optimiser, done in it
    saved: dict[str, Any] = field(default_factory=dict)  # what the callbacks put into it
    finished: bool = False  # nothing is left to do
    _lock: FileLock | None = None

    @property
    def saves(self) -> bool:
        return bool(self.cfg.checkpoint.enabled)

    @property
    def last(self) -> Path:
        """Where it saves, once it does."""
        return self.directory / LAST

    @property
    def newest(self) -> Path | None:
        return self.last if self.saves and self.last.is_file() else None

    @property
    def config(self) -> dict[str, Any]:
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

    def lock(self, folder: Path) -> None:
        """Keeps others from a folder, which exists, until released or the process ends.

        Raises ConfigError saying who is at it.
        """
        if not self.writes or self._lock is not None:
            return
        lock, holder = FileLock(folder / ".lock"), read_json(folder / _HOLDER)
        here = holder.get("host") == socket.gethostname()
        patience = _GRACE if here and not process_exists(int(holder["pid"])) else 0
        try:
            lock.acquire(timeout=_PATIENCE if RUN in os.environ else patience)
        except Timeout:
            host = holder.get("host", "a host that is not told")
            raise ConfigError(
                f"run folder '{folder}' is in use by process {holder.get('pid', '?')} on {host}: "
                "wait until that run has ended, stop it, or give this one another name or seed"
            ) from None
        self._lock = lock
        write_json(folder / _HOLDER, this_process())

    def release(self) -> None:
        if self._lock is not None:
            self._lock.release()
            self._lock = None


def new_directory(root: Path, cfg: DictConfig, told: Sequence[str] = ()) -> Path:
    """A fresh folder's name, plain whatever the run is called; in a job that job's own.

    It holds ``told``, what tells the run from others of that name, and the seed.
    """
    unique = os.environ.get(RUN) or f"{time.strftime('%Y%m%d-%H%M%S')}-{uuid.uuid4().hex[:6]}"
    if RUN in os.environ and (begun := sorted(root.glob(f"*-{unique}"))):
        return begun[0]  # of an earlier attempt, whatever its files said by then
    name = plain_name(str(cfg.name))
    for part in told:
        longer = f"{name}-{plain_name(part)}"
        name = longer if len(longer) <= _LONGEST else name
    return root / f"{name}-seed-{cfg.get('seed')}-{unique}"

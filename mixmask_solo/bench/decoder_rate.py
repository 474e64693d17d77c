# SPDX-License-Identifier: MIT
"""One decoder timed on a configuration's own images."""

from __future__ import annotations

import statistics
from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Any

import torch
from lightning.pytorch import Trainer
from omegaconf import DictConfig, OmegaConf

from mixmask_solo.bench.step_need import per_second
from mixmask_solo.config import ConfigError
from mixmask_solo.config.errors import did_you_mean, listing
from mixmask_solo.data import build_pretrain
from mixmask_solo.data.sources.storage import DECODERS, STORAGES, storage

__all__ = ["NAMES", "Rate", "Running", "require_known", "variants"]

NAMES = ("pil", "resident", "dali cpu", "dali gpu")


@dataclass
class Rate:
    """One decoder's images/s.

    Attributes:
        name: one of ``NAMES``.
        setting: the configuration's key that chooses it.
        rates: the measurements; empty where it could not run.
        overlaps: whether it works while the network does, on another device or in other
            processes with cores of their own.
        problem: why it could not run.
    """

    name: str
    setting: str
    rates: list[float] = field(default_factory=list)
    overlaps: bool = True
    problem: str = ""

    @property
    def median(self) -> float:
        """Images/s; 0 where it could not run."""
        return statistics.median(self.rates) if self.rates else 0.0


def require_known(option: str, names: Sequence[str], known: Sequence[str]) -> None:
    """Raises ConfigError for the first unknown name given with ``option``."""
    for name in names:
        if name not in known:
            near = did_you_mean(name, known)
            raise ConfigError(f"{option} is {name!r}: choose {listing(known)}{near}")


def variants(cfg: DictConfig, names: Sequence[str] = NAMES) -> dict[str, DictConfig]:
    """The configuration with each of the decoders; the storage stays what it is."""
    stored = storage(OmegaConf.to_container(cfg.data))  # type: ignore[arg-type]
    stored = stored if stored in STORAGES else "image_folder"
    found = {}
    for name in names:
        decoder, _, where = name.partition(" ")
        changes: dict[str, Any] = {"data": {"format": stored, "storage": "auto"}}
        if decoder in DECODERS:
            changes = {"data": {"format": decoder, "storage": stored}}
        if decoder == "dali":
            changes["dali"] = {"device": where or "auto"}
        found[name] = OmegaConf.merge(cfg, changes)
    return found  # type: ignore[return-value]


class Running(Rate):
    """A rate that is being measured: the loader is kept going between measurements.

    ``cfg`` is resolved and chooses the decoder, ``trainer`` decides the device.
    """

    def __init__(self, name: str, cfg: DictConfig, trainer: Trainer) -> None:
        setting = "data.format=" + name.split()[0]
        on_cpu = trainer.strategy.root_device.type == "cpu"
        super().__init__(
            name,
            "data.format of the storage" if name == "pil" else setting,
            overlaps=not (on_cpu or name == "resident"),
        )
        self.classes: int | None = None
        self._batches: Any = iter(())
        try:
            if name == "dali gpu" and not torch.cuda.is_available():
                raise ConfigError("there is no CUDA device")
            data = build_pretrain(cfg)
            data.prepare_data()
            data.trainer = trainer
            self.loader: Any = data.train_dataloader()
            self.classes = data.num_classes
            self._next(3)
        except (ConfigError, ImportError) as error:
            self.problem = str(error)

    def measure(self, seconds: float) -> None:
        """Counts images for a while, once what was made ahead is used up."""
        if not self.problem:
            self._next(2 + 2 * int(getattr(self.loader, "num_workers", 0)))
            self.rates.append(per_second(self._next, seconds))

    def close(self) -> None:
        """Lets workers go."""
        self._batches = self.loader = None

    def _next(self, count: int = 1) -> int:
        images = 0
        for _ in range(count):
            batch = next(self._batches, None)
            if batch is None:
                self._batches = iter(self.loader)
                batch = next(self._batches)
            images += len(batch[0])
        if torch.cuda.is_available():
            torch.cuda.synchronize()
        return images

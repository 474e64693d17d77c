# SPDX-License-Identifier: MIT
"""One decoder timed on a configuration's own images."""

from __future__ import annotations

import statistics
import time
from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Any

import torch
from lightning.pytorch import Trainer
from omegaconf import DictConfig, OmegaConf

from mixmask_solo.config import ConfigError
from mixmask_solo.data import build_pretrain
from mixmask_solo.data.sources.storage import DECODERS, STORAGES, storage

__all__ = ["NAMES", "Rate", "Running", "variants"]

NAMES = ("pil", "resident", "dali cpu", "dali gpu")


@dataclass(frozen=True)
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


class Running:
    """One decoder's loader, kept going between its measurements.

    Args:
        name: one of ``NAMES``.
        cfg: a resolved configuration that chooses it.
        trainer: decides the device.

    Attributes:
        rates: images/s of the measurements so far.
        problem: why there can be none; empty where there can.
        classes: number of classes of the images.
    """

    def __init__(self, name: str, cfg: DictConfig, trainer: Trainer) -> None:
        self.name = name
        self.rates: list[float] = []
        self.problem = ""
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
        if self.problem:
            return
        self._next(2 + 2 * int(getattr(self.loader, "num_workers", 0)))
        images, start = 0, time.perf_counter()
        while (elapsed := time.perf_counter() - start) < seconds or images == 0:
            images += self._next(1)
        self.rates.append(images / elapsed)

    def rate(self, device: torch.device) -> Rate:
        """What was measured."""
        own = self.name == "resident" or device.type == "cpu"
        setting = "data.format=" + self.name.split()[0]
        if self.name == "pil":
            setting = "data.format of the storage"
        return Rate(self.name, setting, self.rates, not own, self.problem)

    def close(self) -> None:
        """Lets workers go."""
        self._batches = None
        self.loader = None

    def _next(self, count: int) -> int:
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

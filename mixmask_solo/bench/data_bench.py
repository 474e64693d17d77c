# SPDX-License-Identifier: MIT
"""Does the network wait for data? Images/s of each decoder beside those of a training step."""

import statistics
from collections.abc import Iterator, Sequence
from dataclasses import asdict, dataclass, field
from itertools import chain, islice, repeat
from typing import Any

import torch
from lightning.pytorch import Trainer
from omegaconf import DictConfig, OmegaConf

from mixmask_solo import screen
from mixmask_solo.bench.step_need import per_second, step_rates
from mixmask_solo.config import ConfigError, require_known
from mixmask_solo.data import build_pretrain
from mixmask_solo.data.sources.storage import DECODERS, STORAGES, storage
from mixmask_solo.runs.pretrain import resolve
from mixmask_solo.runs.trainer import build_trainer

NAMES = ("pil", "resident", "dali cpu", "dali gpu")


@dataclass
class Rate:
    """One decoder's images/s."""

    name: str
    setting: str  # the configuration's key that chooses it
    rates: list[float] = field(default_factory=list)  # empty where it could not run
    overlaps: bool = True  # it works while the network does, elsewhere
    problem: str = ""  # why it could not run

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


class Running(Rate):
    """A rate that is being measured: the loader is kept going between measurements.

    ``cfg`` is resolved and chooses the decoder, ``trainer`` decides the device.
    """

    def __init__(self, name: str, cfg: DictConfig, trainer: Trainer) -> None:
        value = " of the storage" if name == "pil" else f"={name.split()[0]}"
        on_cpu = trainer.strategy.root_device.type == "cpu"
        beside = not (on_cpu or name == "resident")
        super().__init__(name, f"data.format{value}", overlaps=beside)
        self.classes: int | None = None
        self._batches: Iterator[Any] = iter(())
        try:
            if name == "dali gpu" and not torch.cuda.is_available():
                raise ConfigError("there is no CUDA device")
            data = build_pretrain(cfg)
            data.prepare_data()
            data.trainer = trainer
            loader: Any = data.train_dataloader()
            self._batches = chain.from_iterable(repeat(loader))  # one epoch after the other
            self._ahead = 2 + 2 * int(getattr(loader, "num_workers", 0))
            self.classes = data.num_classes
            self._next(3)
        except (ConfigError, ImportError) as error:
            self.problem = str(error)

    def measure(self, seconds: float) -> None:
        """Counts images for a while, once what was made ahead is used up."""
        if not self.problem:
            self._next(self._ahead)
            self.rates.append(per_second(self._next, seconds))

    def close(self) -> None:
        """Lets workers go."""
        self._batches = iter(())

    def _next(self, count: int = 1) -> int:
        images = sum(len(batch[0]) for batch in islice(self._batches, count))
        if torch.cuda.is_available():
            torch.cuda.synchronize()
        return images


@dataclass(frozen=True)
class Bench:
    """All that was measured."""

    decoders: Sequence[Rate]
    needs: list[float]  # images/s of the training step
    measured: bool  # on ``device`` with batches of ``step_batch``; else given
    device: str
    chosen: str  # the decoder that the configuration asks for
    batch_size: int
    step_batch: int
    workers: Any

    @property
    def need(self) -> float:
        """Images/s that the network takes in."""
        return statistics.median(self.needs)

    def data_share(self, rate: Rate) -> float:
        """Time to make an image, as a share of the step's time for one."""
        return self.need / rate.median

    def waiting(self, rate: Rate) -> float:
        """Share of a run's time in which the network has nothing to do."""
        share = self.data_share(rate)
        return max(0.0, 1 - 1 / share) if rate.overlaps else share / (1 + share)

    def as_dict(self) -> dict[str, Any]:
        """Plain values, for JSON."""
        rows = []
        for rate in self.decoders:
            rows.append(asdict(rate) | {"images_per_second": rate.median})
            if rate.rates:
                rows[-1] |= {"data_share": self.data_share(rate), "waiting": self.waiting(rate)}
        return asdict(self) | {"decoders": rows, "need": self.need}


def bench(
    cfg: DictConfig,
    *,
    decoders: Sequence[str] | None = None,
    need: float | None = None,
    seconds: float = 3.0,
    repeats: int = 5,
) -> Bench:
    """Measures ``decoders``, all by default, on a configuration's own images and augmentations.

    One decoder after the other, over and over, so that a busy machine slows them all alike.

    Args:
        cfg: a composed, unresolved pretraining configuration.
        need: images/s of the network; None measures a training step on random images.
        seconds: of each of the ``repeats`` measurements.

    Raises:
        ConfigError: for anything wrong with the configuration or the data, or when no decoder
            can run.
    """
    cfg = alone(cfg)
    wanted = list(decoders or NAMES)
    for name in wanted:
        require_known("--decoders", name, NAMES)
    trainer = build_trainer(cfg, [])
    device = trainer.strategy.root_device
    rows = [Running(name, variant, trainer) for name, variant in variants(cfg, wanted).items()]
    needs, step_batch = ([] if need is None else [need]), 0
    if need is None:
        classes = next((row.classes for row in rows if row.classes), None)
        cfg.data.num_classes = classes or cfg.data.get("num_classes") or 1000
        with screen.task("measuring a training step"):
            needs, step_batch = step_rates(cfg, device, seconds=seconds, repeats=repeats)
    with screen.task("measuring the decoders", repeats * len(rows)) as shown:
        for _ in range(repeats):
            for row in rows:
                row.measure(seconds)
                shown.done += 1
    for row in rows:
        row.close()
    if not any(row.rates for row in rows):
        raise ConfigError("; ".join(f"{row.name}: {row.problem}" for row in rows))
    return Bench(
        decoders=rows,
        needs=needs,
        measured=need is None,
        device=str(device),
        chosen=_chosen(cfg, device),
        batch_size=int(cfg.optimizer.batch_size),
        step_batch=step_batch,
        workers=cfg.data.num_workers,
    )


def alone(cfg: DictConfig) -> DictConfig:
    """The configuration on one device of this machine, resolved."""
    changes: dict[str, Any] = {"devices": 1, "num_nodes": 1, "strategy": "auto"}
    if not torch.cuda.is_available():
        changes |= {"accelerator": "cpu", "precision": "32"}
    copy = OmegaConf.create(OmegaConf.to_container(cfg, resolve=True))
    return resolve(OmegaConf.merge(copy, changes))  # type: ignore[arg-type]


def _chosen(cfg: DictConfig, device: torch.device) -> str:
    if cfg.data.format == "dali":
        where = (cfg.get("dali") or {}).get("device", "auto")
        on_gpu = device.type == "cuda" if where == "auto" else where == "gpu"
        return "dali gpu" if on_gpu else "dali cpu"
    return "resident" if cfg.data.format == "resident" else "pil"

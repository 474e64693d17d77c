# SPDX-License-Identifier: MIT
"""Does the network wait for data? Images/s of each decoder beside those of a training step."""

from __future__ import annotations

import statistics
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from typing import Any

import torch
from omegaconf import DictConfig, OmegaConf

from mixmask_solo.bench.decoder_rate import NAMES, Rate, Running, require_known, variants
from mixmask_solo.bench.step_need import step_rates
from mixmask_solo.config import ConfigError
from mixmask_solo.runs.pretrain import resolve
from mixmask_solo.runs.trainer import build_trainer

__all__ = ["Bench", "alone", "bench"]


@dataclass(frozen=True)
class Bench:
    """All that was measured.

    Attributes:
        needs: images/s of the training step, which are ``measured`` on ``device`` with batches of
            ``step_batch``, or given.
        chosen: the decoder the configuration asks for.
    """

    decoders: Sequence[Rate]
    needs: list[float]
    measured: bool
    device: str
    chosen: str
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
    """Measures every decoder on a configuration's own images and augmentations.

    One decoder after the other, over and over, so that a busy machine slows them all alike.

    Args:
        cfg: a composed, unresolved pretraining configuration.
        decoders: some of ``NAMES``; None for all that this machine has.
        need: images/s of the network; None measures a training step on random images.
        seconds: of each measurement.
        repeats: measurements of each.

    Raises:
        ConfigError: for anything wrong with the configuration or the data, or when no decoder
            can run.
    """
    cfg = alone(cfg)
    wanted = list(decoders or NAMES)
    require_known("--decoders", wanted, NAMES)
    trainer = build_trainer(cfg, [])
    device = trainer.strategy.root_device
    rows = [Running(name, variant, trainer) for name, variant in variants(cfg, wanted).items()]
    needs, step_batch = ([] if need is None else [need]), 0
    if need is None:
        classes = next((row.classes for row in rows if row.classes), None)
        cfg.data.num_classes = classes or cfg.data.get("num_classes") or 1000
        needs, step_batch = step_rates(cfg, device, seconds=seconds, repeats=repeats)
    for _ in range(repeats):
        for row in rows:
            row.measure(seconds)
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

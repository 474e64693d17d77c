# SPDX-License-Identifier: MIT
"""Names a collapse of the embedding while the run goes."""

import logging
import math
from typing import Any

from lightning.pytorch import Callback, LightningModule, Trainer
from omegaconf import DictConfig

from mixmask_solo.evaluation.health import COLLAPSED, verdict
from mixmask_solo.runs.readback import Readback

log = logging.getLogger(__name__)
NOTE = "collapse"  # in result.json


class CollapseWatch(Callback):
    """Judges each epoch's metrics; stands behind the readback, which has them.

    The epoch's mean spread always, its effective rank where ``health`` is on. A collapse is warned
    of once, when it begins, and noted with the epoch in which that was (and ``until``, the first
    one in which it was over). A network that has not moved yet is not taken for a collapsed one:
    docs/health.md has the figures.

    Args:
        dimension: of the embeddings; None for runs that have none.
        images: of which the rank is measured, at most.
    """

    def __init__(self, readback: Readback, dimension: int | None, images: int) -> None:
        self.readback = readback
        self.dimension = dimension
        self.images = images

    @property
    def highest(self) -> int | None:
        """The highest rank there can be."""
        return None if self.dimension is None else min(self.images, self.dimension)

    def on_train_epoch_end(self, trainer: Trainer, pl_module: LightningModule) -> None:
        measured = self.readback.epoch
        std, rank = (measured.get(f"train_embedding_{name}") for name in ("std", "rank"))
        if self.dimension is None or std is None:
            return
        collapsed = verdict(std, rank, self.images, self.dimension) == COLLAPSED
        before: dict[str, Any] = self.readback.notes.get(NOTE, {})
        begun = bool(before) and before["until"] is None
        if collapsed and not begun:
            note = {"epoch": trainer.current_epoch, "until": None, "std": std}
            note |= {} if rank is None else {"rank": rank}
            self.readback.notes[NOTE] = note
            if trainer.is_global_zero:
                log.warning(self._told(note))
        elif begun and not collapsed:
            self.readback.notes[NOTE] = {**before, "until": trainer.current_epoch}

    def _told(self, note: dict[str, Any]) -> str:
        assert self.dimension is not None
        spread = f"std {note['std']:.2g} (spread ones: {1 / math.sqrt(self.dimension):.2g})"
        rank = f", effective rank {note['rank']:.2g} of {self.highest}" if "rank" in note else ""
        return (
            f"the embeddings have collapsed in epoch {note['epoch'] + 1}: {spread}{rank}. The run "
            "goes on, but rarely recovers: stop it, and begin anew with a lower optimizer.lr, a "
            "longer scheduler.warmup_epochs or another seed (docs/health.md)"
        )


def collapse_watch(readback: Readback, cfg: DictConfig, images: int) -> CollapseWatch:
    """That of a run's resolved configuration with so many training images; idle for a probe."""
    kwargs = cfg.get("method_kwargs") or {}
    dimension = kwargs.get("proj_output_dim")
    most = int((cfg.get("health") or {}).get("images", images))
    return CollapseWatch(readback, None if dimension is None else int(dimension), min(most, images))

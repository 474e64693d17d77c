# SPDX-License-Identifier: MIT
"""Names a collapse of the embedding while the run goes."""

import logging
import math
from typing import Any

from lightning.pytorch import Callback, LightningModule, Trainer
from omegaconf import DictConfig

from mixmask_solo.evaluation.health import COLLAPSED, DIMENSIONAL, verdict
from mixmask_solo.runs.readback import Readback

log = logging.getLogger(__name__)
NOTE = "collapse"  # in result.json
_ADVICE = {
    True: "stop it, and begin anew with a lower optimizer.lr or optimizer.weight_decay or a longer "
    "scheduler.warmup_epochs",
    False: "if the rank does not rise again, a lower optimizer.lr or optimizer.weight_decay helps",
}


class CollapseWatch(Callback):
    """Judges each epoch's metrics; stands behind the readback, which has them.

    The epoch's mean spread always, its effective rank where ``health`` is on. A collapse is warned
    of once, when it begins or from dimensional becomes complete, and noted with the epoch in which
    that was (and ``until``, the first one without any). A network that has not moved yet is not
    taken for a collapsed one, and its rank not for a dimensional collapse before the second epoch.

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
        measured, notes = self.readback.epoch, self.readback.notes
        std, rank = (measured.get(f"train_embedding_{name}") for name in ("std", "rank"))
        if self.dimension is None or std is None:
            return
        kind = verdict(std, rank, self.images, self.dimension)
        if kind == DIMENSIONAL and trainer.current_epoch == 0:
            kind = ""  # untrained heads without a norm give few directions, too
        before: dict[str, Any] = notes.get(NOTE, {"until": 0})
        known = before["kind"] if before["until"] is None else ""
        if kind and known not in (kind, COLLAPSED):
            found = {"kind": kind, "epoch": trainer.current_epoch, "until": None, "std": std}
            notes[NOTE] = found if rank is None else {**found, "rank": rank}
            if trainer.is_global_zero:
                log.warning(self._told(notes[NOTE]))
        elif known and not kind:
            notes[NOTE] = {**before, "until": trainer.current_epoch}

    def _told(self, note: dict[str, Any]) -> str:
        assert self.dimension is not None
        spread = f"std {note['std']:.2g} (spread ones: {1 / math.sqrt(self.dimension):.2g})"
        rank = f", effective rank {note['rank']:.3g} of {self.highest}" if "rank" in note else ""
        return (
            f"{note['kind']}: the embeddings of epoch {note['epoch'] + 1} have {spread}{rank}. The "
            f"run goes on; {_ADVICE[note['kind'] == COLLAPSED]} (a heuristic: docs/health.md)"
        )


def collapse_watch(readback: Readback, cfg: DictConfig, images: int) -> CollapseWatch:
    """That of a run's resolved configuration with so many training images; idle for a probe."""
    kwargs = cfg.get("method_kwargs") or {}
    dimension = kwargs.get("proj_output_dim")
    most = int((cfg.get("health") or {}).get("images", images))
    return CollapseWatch(readback, None if dimension is None else int(dimension), min(most, images))

# SPDX-License-Identifier: MIT
"""What a run records of its heads: a row each, and which of them counts."""

from collections.abc import Sequence
from typing import Any

from lightning.pytorch import Callback, LightningModule, Trainer

from mixmask_solo.evaluation.heads import Head, Heads, best_head

_TOP = ("val_acc1", "val_acc5")


class HeadTable(Callback):
    """Keeps the newest measurement of every head, also over a resumption, and each one's best.

    Which head counts is told by the images held out, as of the last validation; only then, for
    this one alone, the validation with its highest ``val_acc1`` is told, as of a single probe.

    Args:
        heads: with the rates as they are written, per 256 images.
    """

    def __init__(self, heads: Sequence[Head]) -> None:
        self.heads = heads
        self.rows: list[dict[str, Any]] = []
        self.counts: dict[str, int] = {}
        self.epoch = 0
        self.best: list[dict[str, dict[str, Any]]] = [{} for _ in heads]  # by metric, row and epoch

    def on_validation_end(self, trainer: Trainer, pl_module: LightningModule) -> None:
        if trainer.sanity_checking:
            return
        assert isinstance(pl_module, Heads)
        self.rows, self.counts = pl_module.measured, dict(pl_module.counts)
        self.epoch = trainer.current_epoch
        for best, row in zip(self.best, self.rows, strict=True):
            for name in _TOP:
                if name in row and row[name] > best.get(name, {}).get(name, -1.0):
                    best[name] = {"epoch": self.epoch, **{top: row[top] for top in _TOP}}

    def told(self) -> dict[str, Any]:
        """Entries of ``result.json``; nothing before the first validation."""
        if not self.rows:
            return {}
        pairs = zip(self.heads, self.rows, strict=True)
        heads = [{**head._asdict(), **row} for head, row in pairs]
        found: dict[str, Any] = {"heads": heads, "heads_epoch": self.epoch, "chosen": None}
        number = best_head(self.rows)
        if number is None:
            return found
        best = self.best[number]
        top = best["val_acc1"]
        return {
            **found,
            "chosen": {
                "head": number,
                **self.heads[number]._asdict(),
                "by": "holdout_acc1",
                "holdout_images": self.counts["holdout"],
            },
            "best_epoch": top["epoch"],
            **{f"best_{name}": top[name] for name in _TOP},
            "best_metrics": {
                name: {"value": one[name], "epoch": one["epoch"]} for name, one in best.items()
            },
        }

    def state_dict(self) -> dict[str, Any]:
        keys = ("rows", "counts", "epoch", "best")
        return {key: getattr(self, key) for key in keys}

    def load_state_dict(self, state_dict: dict[str, Any]) -> None:
        for key, value in state_dict.items():
            setattr(self, key, value)

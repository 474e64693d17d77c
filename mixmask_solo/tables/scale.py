# SPDX-License-Identifier: MIT
"""A rehearsal: every cell of a table made smaller by the same rules."""

import math
from collections.abc import Mapping
from typing import Any

RULES = """With --scale S, in every cell alike:
  epochs      max_epochs x S, at least 1 (2 where the last one runs at rate 0); scheduler's warm-up
              and decay epochs move with them
  images      data.fraction x S of the training images, stratified; all validation images
  batch       the global batch x sqrt(S), rounded down to a power of two, from 8 on; learning rates
              follow it, as the recipes' do
  queue       queue_size x S, rounded to a multiple of two batches, at least two
  BatchNorm   bn_splits as many as leave groups of at least 8 images
So a run costs about S squared of the full one. Networks, views and augmentations stay."""

_SMALLEST = 8  # images


def scaled(config: Mapping[str, Any], share: float, processes: int = 1) -> list[str]:
    """Overrides that make a run of ``share`` of the epochs and images out of a recipe.

    Args:
        config: the recipe's, resolved at full scale.
        share: in (0, 1]; at 1 nothing changes.
        processes: of that configuration, whose batches together are the global one.
    """
    if share == 1:
        return []
    epochs, optimizer = int(config["max_epochs"]), config["optimizer"]
    name = str(config["scheduler"]["name"])
    fewer = max(2 if name == "cosine_from_one" else 1, round(epochs * share))
    whole = int(optimizer["batch_size"]) * processes
    batch = max(_SMALLEST, 2 ** math.floor(math.log2(whole * math.sqrt(share))))
    fraction = float(config["data"].get("fraction") or -1)
    found = {
        "max_epochs": fewer,
        "data.fraction": _plain(share * (1 if fraction == -1 else fraction)),
        "optimizer.batch_size": batch,
        **_schedule(config["scheduler"], fewer / epochs, fewer),
        **_method(config.get("method_kwargs") or {}, share, batch),
    }
    if int(config.get("check_val_every_n_epoch") or 1) > fewer:
        found["check_val_every_n_epoch"] = fewer
    return [f"++{key}={value}" for key, value in found.items()]


def _schedule(scheduler: Mapping[str, Any], ratio: float, epochs: int) -> dict[str, Any]:
    found: dict[str, Any] = {}
    warmup = float(scheduler.get("warmup_epochs") or 0)
    if warmup and str(scheduler["name"]).startswith("warmup"):
        fine = scheduler.get("interval") == "step"
        found["scheduler.warmup_epochs"] = _plain(warmup * ratio) if fine else round(warmup * ratio)
    if steps := scheduler.get("lr_decay_steps"):
        fewer = sorted({min(max(1, round(step * ratio)), max(1, epochs - 1)) for step in steps})
        found["scheduler.lr_decay_steps"] = f"[{','.join(map(str, fewer))}]"
    return found


def _method(kwargs: Mapping[str, Any], share: float, batch: int) -> dict[str, Any]:
    found: dict[str, Any] = {}
    if queue := kwargs.get("queue_size"):
        pair = 2 * batch
        found["method_kwargs.queue_size"] = pair * max(1, round(queue * share / pair))
    if (splits := int(kwargs.get("bn_splits") or 1)) > 1:
        while splits > 1 and (batch % splits or batch // splits < _SMALLEST):
            splits -= 1
        found["method_kwargs.bn_splits"] = splits
    return found


def _plain(value: float) -> float:
    """Without the dust of binary fractions."""
    return float(f"{value:.6g}")

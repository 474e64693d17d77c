# SPDX-License-Identifier: MIT
"""A rehearsal: every cell of a table made smaller by the same rules."""

import math
from collections.abc import Collection, Mapping
from typing import Any

RULES = """With --scale S, in every cell alike:
  epochs      max_epochs x S, at least 1 (2 where the last one runs at rate 0); scheduler's warm-up
              and decay epochs move with them
  images      data.fraction x S of the training images, stratified; all validation images
  batch       the global batch x sqrt(S), rounded down to a power of two, from 8 on; learning rates
              follow it, as the recipes' do
  queue       queue_size x S, rounded to a multiple of two batches, at least two
  BatchNorm   bn_splits as many as leave groups of at least 8 images
  detection   max_steps, milestones and warm-up x S, one measurement at the end; the global batch
              x sqrt(S), from 2 on, with the rate, which nothing else scales; all images
So a run costs about S squared of the full one. Networks, views and augmentations stay."""

_SMALLEST = 8  # images
_FEWEST = 2  # of a detector's step


def scaled(config: Mapping[str, Any], share: float, processes: int = 1) -> list[str]:
    """Overrides that make a run of ``share`` of the epochs and images out of a recipe.

    Args:
        config: the recipe's, resolved at full scale.
        share: in (0, 1]; at 1 nothing changes.
        processes: of that configuration, whose batches together are the global one.
    """
    if share == 1:
        return []
    if "detector" in config:
        return _overrides(_detection(config, share, processes))
    epochs, optimizer = int(config["max_epochs"]), config["optimizer"]
    name = str(config["scheduler"]["name"])
    fewer = max(2 if name == "cosine_from_one" else 1, round(epochs * share))
    whole = int(optimizer["batch_size"]) * processes
    batch = _batch(whole, share, _SMALLEST)
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
    return _overrides(found)


def _overrides(found: Mapping[str, Any]) -> list[str]:
    return [f"++{key}={value}" for key, value in found.items()]


def _batch(whole: int, share: float, least: int) -> int:
    return max(least, 2 ** math.floor(math.log2(whole * math.sqrt(share))))


def _detection(config: Mapping[str, Any], share: float, processes: int) -> dict[str, Any]:
    optimizer, scheduler = config["optimizer"], config["scheduler"]
    whole = int(optimizer["batch_size"]) * processes
    batch = min(whole, _batch(whole, share, _FEWEST))
    steps = max(1, round(int(config["max_steps"]) * share))
    milestones = {max(1, round(step * share)) for step in scheduler["milestones"]}
    return {
        "max_steps": steps,
        "eval_every": steps,
        "precise_bn": math.ceil(int(config["precise_bn"]) * share),
        "optimizer.batch_size": batch,
        "optimizer.lr": _plain(float(optimizer["lr"]) * batch / whole),
        "scheduler.warmup_steps": round(int(scheduler["warmup_steps"]) * share),
        "scheduler.milestones": _list(milestones),
    }


def _list(numbers: Collection[int]) -> str:
    return f"[{','.join(map(str, sorted(numbers)))}]"


def _schedule(scheduler: Mapping[str, Any], ratio: float, epochs: int) -> dict[str, Any]:
    found: dict[str, Any] = {}
    warmup = float(scheduler.get("warmup_epochs") or 0)
    if warmup and str(scheduler["name"]).startswith("warmup"):
        fine = scheduler.get("interval") == "step"
        found["scheduler.warmup_epochs"] = _plain(warmup * ratio) if fine else round(warmup * ratio)
    if steps := scheduler.get("lr_decay_steps"):
        last = max(1, epochs - 1)
        found["scheduler.lr_decay_steps"] = _list(
            {min(max(1, round(step * ratio)), last) for step in steps}
        )
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

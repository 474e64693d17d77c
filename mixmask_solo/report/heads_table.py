# SPDX-License-Identifier: MIT
"""The heads of a probe under each other."""

import re
from collections.abc import Mapping
from typing import Any

from mixmask_solo.config.datasets import DATASETS
from mixmask_solo.report import columns

_COLUMNS = {  # entries of a head, and what stands above them
    "holdout_acc1": "held-out top-1",
    "val_mean_class_acc1": "mean per class",
    "val_acc1": "top-1",
    "val_acc5": "top-5",
    "val_loss": "loss",
}
_OWN_METRIC = re.compile(r"head_\d+_\w+")


def heads_table(result: Mapping[str, Any]) -> str:
    """A line a head, the chosen one marked; empty for a run of a single head."""
    heads = result.get("heads") or []
    if not heads:
        return ""
    chosen = (result.get("chosen") or {}).get("head")
    info = DATASETS.get(str(((result.get("config") or {}).get("data") or {}).get("dataset")))
    own = "acc1" if info is None else info.metric
    rest = {"val_mean_class_acc1"} - {f"val_{own}"}  # where classes are alike it says nothing new
    shown = [n for n in _COLUMNS if n not in rest and any(n in head for head in heads)]
    lines = [("", "lr", "weight decay", "normalize", *(_COLUMNS[name] for name in shown))]
    for i, head in enumerate(heads):
        name = f"* head {i}" if i == chosen else f"  head {i}"
        settings = (f"{head['lr']:g}", f"{head['weight_decay']:g}", str(head["normalize"]).lower())
        values = (f"{head[key]:.2f}" if key in head else "diverged" for key in shown)
        lines.append((name, *settings, *values))
    return columns(lines, right=range(1, len(lines[0])))


def of_one_head(metric: str) -> bool:
    """Whether a metric's name is that of one of many heads."""
    return _OWN_METRIC.fullmatch(metric) is not None


def chosen_head(result: Mapping[str, Any]) -> str:
    """The head that counts, in words; empty for a run of a single head."""
    heads, chosen = result.get("heads") or [], result.get("chosen")
    if not heads:
        return ""
    if not chosen:
        return f"{len(heads)} heads, none chosen (no images are held out)"
    unit = ", unit length" if chosen["normalize"] else ""
    return (
        f"lr {chosen['lr']:g}, weight decay {chosen['weight_decay']:g}{unit}: best of {len(heads)} "
        f"heads on {chosen['holdout_images']:,} held-out training images"
    )

# SPDX-License-Identifier: MIT
"""What a run is, whatever it is called and wherever it ran: its resolved configuration."""

import json
from collections.abc import Collection, Mapping
from typing import Any

from mixmask_solo.config.datasets import DATASETS
from mixmask_solo.config.free import Difference, has_effect, under
from mixmask_solo.config.rules import count_devices, read_devices
from mixmask_solo.runs.contradictions import differences

# How fast, in what numbers and by which decoder: the same experiment, told in a footnote.
_TOLD = ("precision", "performance", "deterministic", "host", "data.format", "data.on_error")
# How the images are stored, and what is the machine's.
_STORED = ("data.storage", "data.image_column", "data.label_column", "data.max_errors")
ALIKE = (*_TOLD, *_STORED, "dali", "benchmark", "strategy")
_OWN = ("seed", "name", "scale", "processes")  # of one run
_PARTS = ("limit_val_batches",)  # a resumed run may change it, but it is no measurement of a cell
# One process has the statistics of the whole batch whatever is asked for; on the CPU it is off.
_SYNC = "sync_batchnorm"
_ACCUMULATED = "accumulate_grad_batches"
_PATHS = ("data.train_path", "data.val_path")
# From the checkpoint that is probed or fine-tuned; method_kwargs are its filters of inputs.
_FOLLOWS = (
    *("backbone", "pretrain_method", "method_kwargs"),
    *(f"data.augmentations.{key}" for key in ("crop_size", "mean", "std")),
    *("data.mean", "data.std"),  # a detector's
)


def identity(config: Mapping[str, Any], processes: int | None = None) -> dict[str, Any]:
    """A resolved configuration whose ``optimizer.batch_size`` is the global one.

    ``processes``: by default what ``devices`` and ``num_nodes`` say.
    """
    if processes is None:
        processes = processes_of(config)
    optimizer = dict(config["optimizer"])
    optimizer["batch_size"] = int(optimizer["batch_size"]) * processes * accumulated(config)
    same = {**config, "optimizer": optimizer, "processes": 1}
    if processes == 1:
        same[_SYNC] = None  # without effect
    if "method" not in config and "data" in config:  # none given are none of each
        own = config["data"]
        same["data"] = {**own, "augmentations": own.get("augmentations") or {}}
    return same


def accumulated(config: Mapping[str, Any]) -> int:
    """Batches of a detector's step, whose rate and schedule do not depend on how it is divided; 1
    of other runs, whose losses see one batch at a time."""
    return int(config.get(_ACCUMULATED) or 1) if "detector" in config else 1


def processes_of(config: Mapping[str, Any]) -> int:
    devices = read_devices(config.get("devices") or 1, "gpu", None)
    return count_devices(devices, None) * int(config.get("num_nodes") or 1)


def unlike(
    one: Mapping[str, Any], other: Mapping[str, Any], named: Collection[str] = ()
) -> list[Difference]:
    """Keys that make two identities different experiments; empty where they are the same.

    Of two probes, what follows from the pretrained network is left out. Keys that are ``named``, by
    the table's overrides, tell its cells apart, whatever they are. Images that have no name of
    their own are told apart by their paths, others by the number of their folders alone.
    """
    pretrains = "method" in one or "method" in other
    free = (*_OWN, *ALIKE, *(() if pretrains else _FOLLOWS))
    free += (_ACCUMULATED,) if "detector" in one and "detector" in other else ()
    nameless = _is_nameless(one) and _is_nameless(other)
    counts = (*_PARTS, *(_PATHS if nameless else ()), *named)
    if _folders(one) != _folders(other):
        counts += (_PATHS[0],)
    found = [d for d in differences(one, other) if under(d.key, counts) or not under(d.key, free)]
    found = [d for d in found if d.key != _SYNC or None not in d]
    return [d for d in found if under(d.key, counts) or has_effect(d.key)]


def footnote(one: Mapping[str, Any], other: Mapping[str, Any]) -> list[Difference]:
    """Keys in which runs of the same cell may differ, and do."""
    found = differences(one, other)
    return [d for d in found if under(d.key, _TOLD)]


def fingerprint(one: Mapping[str, Any], named: Collection[str] = ()) -> str:
    """Equal for identities that `unlike` calls the same, as far as spelling goes."""
    blank: dict[str, Any] = {"data": {"dataset": "custom"}}
    kept = {d.key: d.new for d in unlike(blank, one, named)}
    kept[_SYNC] = one.get(_SYNC)  # a blank has none, beside which it counts as any
    return json.dumps(kept, sort_keys=True, default=str)


def _folders(one: Mapping[str, Any]) -> int:
    """How many training images lie in: Pascal VOC's years are one each."""
    path = (one.get("data") or {}).get("train_path")
    return len(path) if isinstance(path, list) else 1


def _is_nameless(one: Mapping[str, Any]) -> bool:
    """Whether the data set is whatever lies at a path."""
    info = DATASETS.get(str((one.get("data") or {}).get("dataset")))
    return info is not None and info.num_classes is None

# SPDX-License-Identifier: MIT
"""In which keys two configurations differ, and which of these a resumed run may change."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any, NamedTuple

__all__ = ["Difference", "differences", "is_applied"]

# Where a run lies, what it is called and how it is watched: without effect on what is trained.
_FREE = (
    "accelerator",
    "auto_resume",
    "check_val_every_n_epoch",
    "checkpoint",
    "dali.device",
    "dali.prefetch",
    "dali.verify",
    "data.download",
    "data.num_classes",  # compared with the images themselves
    "data.num_workers",
    "data.resident_on",
    "devices",  # counted, with num_nodes, as processes
    "enable_model_summary",
    "enable_progress_bar",
    "host",  # `auto` may mean either: checkpoints hold which
    "knn_eval",
    "log_every_n_steps",
    "num_nodes",
    "num_sanity_val_steps",
    "profiler",
    "resume_from_checkpoint",
    "wandb",
    "wandb_run_id",
)
# What takes effect on a resumed run as it would on a new one, so that it may change.
_APPLIED = (
    "benchmark",
    "data.root",  # the images themselves are compared
    "data.train_path",
    "data.val_path",
    "detect_anomaly",
    "deterministic",
    "limit_val_batches",
    "max_epochs",
    "name",
    "precision",
    "pretrained_feature_extractor",  # its content is compared
    "strategy",
)
# Told first: what follows from these differs, too.
_FIRST = (
    *("method", "backbone", "method_kwargs.mixmask", "method_kwargs.unmix", "method_kwargs"),
    *("data.dataset", "processes", "optimizer.batch_size", "accumulate_grad_batches"),
    *("optimizer.name", "optimizer.lr"),
)


class Difference(NamedTuple):
    """One key and its values; None where it is not set."""

    key: str
    old: Any
    new: Any


def differences(old: Mapping[str, Any], new: Mapping[str, Any]) -> list[Difference]:
    """The keys that matter in which two resolved configurations differ.

    Null and absent mean the same, and nothing else does: ``switch: false`` is not ``switch: true``
    left out, which a resolved configuration writes down.

    Args:
        old: a resolved configuration; ``processes`` may be added to it.
        new: another one.

    Returns:
        Differences, those that cause others first. Learning rates are per 256 images, as the user
        gives them.
    """
    found = [d for d in _walk(_unscaled(old), _unscaled(new), "") if not _under(d.key, _FREE)]
    return sorted(found, key=lambda d: (_place(d.key), d.key))


def is_applied(key: str) -> bool:
    """Whether a resumed run really takes the new value of a key."""
    return _under(key, _APPLIED)


def _place(key: str) -> int:
    return next((i for i, first in enumerate(_FIRST) if _under(key, (first,))), len(_FIRST))


def _walk(old: Any, new: Any, key: str) -> Iterator[Difference]:
    """Every difference, once: where a whole block is absent from one side, the block."""
    if isinstance(old, Mapping) and isinstance(new, Mapping):
        for name in sorted(old.keys() | new.keys()):
            yield from _walk(old.get(name), new.get(name), f"{key}.{name}" if key else str(name))
    elif isinstance(old, list) and isinstance(new, list) and len(old) == len(new):
        for i, pair in enumerate(zip(old, new, strict=True)):
            yield from _walk(*pair, f"{key}[{i}]")
    elif old != new:
        yield Difference(key, old, new)


def _under(name: str, keys: tuple[str, ...]) -> bool:
    return any(name == key or name.startswith(f"{key}.") for key in keys)


def _unscaled(config: Mapping[str, Any]) -> dict[str, Any]:
    """Learning rates as they are written: those of another number of processes differ otherwise."""
    optimizer = dict(config.get("optimizer") or {})
    images = int(optimizer.get("batch_size") or 256) * int(config.get("processes") or 1)
    data = config.get("data") or {}
    scaled = ["lr"]
    if data.get("val_path") is not None or data.get("dataset") == "digits":
        scaled.append("classifier_lr")
    for name in scaled:
        if isinstance(optimizer.get(name), (int, float)):
            optimizer[name] = float(f"{optimizer[name] * 256 / images:.10g}")
    return {**config, "optimizer": optimizer}

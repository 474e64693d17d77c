# SPDX-License-Identifier: MIT
"""What two resolved configurations differ in, and which keys leave what is trained as it is."""

from collections.abc import Iterator, Mapping
from typing import Any, NamedTuple

# Where a run lies, what it is called and how it is watched: without effect on what is trained.
FREE = (
    *("accelerator", "auto_resume", "checkpoint", "resume_from_checkpoint"),
    *("devices", "num_nodes"),  # counted as processes
    "host",  # `auto` may mean either: checkpoints hold which
    "data.num_classes",  # compared with the images themselves
    *("data.download", "data.num_workers", "data.resident_on", "data.stage_to"),
    *("dali.device", "dali.prefetch", "dali.verify", "dali.cache", "dali.readers"),
    "dali.hw_decoder_load",
    *("check_val_every_n_epoch", "health", "knn_eval", "num_sanity_val_steps"),
    *("enable_model_summary", "enable_progress_bar", "log_every_n_steps", "profiler"),
    *("pictures", "report", "timeout", "wandb", "wandb_run_id"),
)
# What takes effect on a resumed run as it would on a new one, so that it may change.
APPLIED = (
    *("benchmark", "detect_anomaly", "deterministic", "precision", "strategy"),
    *("data.root", "data.train_path", "data.val_path"),  # the images themselves are compared
    *("data.train_images", "data.val_images"),
    "pretrained_feature_extractor",  # its content is compared
    # so is the localiser's, by its digest
    *("method_kwargs.saliency.localizer.weights", "method_kwargs.saliency.localizer.from_run"),
    *("limit_val_batches", "max_epochs", "max_steps", "name"),
    *("performance.compile", "performance.tf32"),
)
# Among those, what makes two runs measure different things.
_MEASURED = (
    *("data.train_path", "data.val_path", "limit_val_batches"),
    "pretrained_feature_extractor",
)


class Difference(NamedTuple):
    """One key and its values; None where it is not set."""

    key: str
    old: Any
    new: Any


def has_effect(key: str) -> bool:
    """Whether what is trained depends on it, not only where, how fast and how it is watched."""
    told = (
        "max_epochs",
        "max_steps",
        "precision",
    )  # may change when a run goes on, and tell runs apart
    return not under(key, (*FREE, *(key for key in APPLIED if key not in told)))


def tells_apart(key: str) -> bool:
    """Whether what is measured depends on it: what is trained, on which network and images, and
    what it is measured on. A run that goes on is the same run whatever becomes of these."""
    return has_effect(key) or under(key, _MEASURED)


def under(name: str, keys: tuple[str, ...]) -> bool:
    """Whether it is one of the keys, or lies in one, perhaps in its list."""
    return any(name == key or name.startswith((f"{key}.", f"{key}[")) for key in keys)


def walk(old: Any, new: Any, key: str) -> Iterator[Difference]:
    """The keys in which two values differ; null and absent mean the same.

    Where a whole block is absent from one side, the block is the difference, as is a whole list of
    plain values.
    """
    if isinstance(old, Mapping) and isinstance(new, Mapping):
        for name in sorted(old.keys() | new.keys()):
            yield from walk(old.get(name), new.get(name), f"{key}.{name}" if key else str(name))
    elif _blocks(old) and _blocks(new) and len(old) == len(new):
        for i, pair in enumerate(zip(old, new, strict=True)):
            yield from walk(*pair, f"{key}[{i}]")
    elif old != new:
        yield Difference(key, old, new)


def _blocks(value: Any) -> bool:
    """Whether it is a list that holds blocks, or lists."""
    return isinstance(value, list) and any(isinstance(one, (Mapping, list)) for one in value)

# SPDX-License-Identifier: MIT
"""Rules between keys: what solo-learn asserts without a word, or not at all, said ahead."""

import logging
from collections.abc import Mapping, Sequence
from typing import Any

from mixmask_solo.config.errors import ConfigError

log = logging.getLogger(__name__)
MOMENTUM_METHODS = ("byol", "dino", "mocov2", "mocov2plus", "mocov3", "nnbyol", "ressl")
"""With an EMA copy of the network; only these read ``momentum``."""
# whose loss is written for exactly two large crops
_TWO_VIEWS = (
    *("mocov2", "mocov2plus", "simsiam"),
    *("barlow_twins", "dino", "mocov3", "nnbyol", "nnclr", "nnsiam", "ressl", "vicreg"),
)
# whose queue a whole number of steps has to fill
_QUEUES = ("mocov2", "mocov2plus", "nnbyol", "nnclr", "nnsiam", "ressl")
# whose targets a momentum network gives, and of which every large crop predicts
_EACH_PREDICTS = ("byol", "dino", "mocov2plus", "mocov3", "nnbyol")
HARD_NEGATIVES = ("mocov2", "mocov2plus", "simclr")
"""Whose loss takes one more negative for each query."""
_ONE_SIDED = (
    "with method_kwargs.symmetric false view 1 is only a query and view 2 only a key; set "
    "symmetric to true, or leave {} out"
)
ONE_SIDED = {(k, v): _ONE_SIDED.format(k) for k, v in (("targets", "both"), ("pairing", "pair"))}
"""What asymmetric MoCo refuses of a block or a branch, by option and value, and why."""
_DEVICES = "give a number of devices, a list of their indices such as [0, 1], -1 or auto"
_GLOBAL_BATCH = "(optimizer.batch_size x devices x num_nodes)"


def count_crops(augmentations: Sequence[Any], method: str) -> tuple[int, int]:
    """Large crops (of the first entry's size) and small ones; refuses what the loss cannot use."""
    if not augmentations:
        raise ConfigError(
            f"augmentations is missing: {method} compares two crops of an image; "
            "give a list of pipelines with crop_size and num_crops"
        )
    size = augmentations[0].crop_size
    for i, entry in enumerate(augmentations):
        if entry.crop_size > size:
            raise ConfigError(
                f"augmentations[{i}].crop_size is {entry.crop_size}: larger than the first "
                f"entry's {size}; put the large crops first"
            )
    large = sum(a.num_crops for a in augmentations if a.crop_size == size)
    small = sum(a.num_crops for a in augmentations) - large
    if large < 2:
        raise ConfigError(
            f"augmentations makes {large} crop of size {size}: {method} needs at least 2; "
            "raise num_crops or add an entry of that size"
        )
    if method in _TWO_VIEWS:
        require_two_views(method, large, small)
    return large, small


def extra_crops(augmentations: Sequence[Any], n: int) -> list[int]:
    """Which entries augment n crops more than the method takes: those of the large ones, in turn.

    Args:
        augmentations: entries with ``crop_size`` and ``num_crops``.
    """
    size = augmentations[0].crop_size
    large = [
        i for i, a in enumerate(augmentations) if a.crop_size == size for _ in range(a.num_crops)
    ]
    return [large[i % len(large)] for i in range(n)]


def require_two_views(method: str, large: int, small: int) -> None:
    """Raises ConfigError for other crops of an image than two large ones."""
    if (large, small) != (2, 0):
        raise ConfigError(
            f"augmentations makes {large} large and {small} small crops: the loss of {method} "
            "takes exactly 2 large ones"
        )


def check_schedule(scheduler: Any, max_epochs: int) -> None:
    """Cuts a warm-up that is longer than the run's ``max_epochs``, in place, and says so.

    Raises ConfigError for a schedule that such a run cannot go through.
    """
    if scheduler.name.startswith("warmup") and scheduler.warmup_epochs > max_epochs:
        log.warning(
            "scheduler.warmup_epochs is %g, longer than training: taking %d, all of max_epochs",
            *(scheduler.warmup_epochs, max_epochs),
        )
        scheduler.warmup_epochs = type(scheduler.warmup_epochs)(max_epochs)
    one_epoch = max_epochs == 1 and scheduler.interval == "epoch"
    if scheduler.name == "cosine_from_one" and one_epoch:
        raise ConfigError(
            "scheduler.name is cosine_from_one, whose last epoch runs at min_lr: with max_epochs 1 "
            "that is the only one; raise max_epochs or set scheduler.name to cosine"
        )


def check_kwargs(method: str, kwargs: Any, *, batch: int, max_epochs: int, large: int) -> None:
    """Raises ConfigError for a queue that steps of ``batch`` images in all processes do not fill,
    or that ``large`` crops of an image do not suit, and for a schedule beyond the run."""
    # official MoCo's one queue takes the keys of both views where the loss is symmetric
    twice = getattr(kwargs, "symmetric", False)
    keys = batch * (1 + twice)
    if method in _QUEUES and kwargs.queue_size % keys:
        raise ConfigError(
            f"method_kwargs.queue_size is {kwargs.queue_size}: it must be a multiple of "
            f"{'twice ' * twice}the global batch {batch} {_GLOBAL_BATCH}, "
            f"e.g. {max(1, round(kwargs.queue_size / keys)) * keys}"
        )
    if method == "swav" and 0 < kwargs.queue_size < batch:
        raise ConfigError(
            f"method_kwargs.queue_size is {kwargs.queue_size}: it must hold at least the global "
            f"batch {batch} {_GLOBAL_BATCH}, or be 0 for no queue"
        )
    if method == "swav" and kwargs.queue_size and large != 2:
        raise ConfigError(
            f"augmentations makes {large} large crops: swav has a queue for exactly 2; change "
            "them, or set method_kwargs.queue_size to 0"
        )
    if method == "dino" and kwargs.warmup_teacher_temperature_epochs > max_epochs:
        raise ConfigError(
            "method_kwargs.warmup_teacher_temperature_epochs is "
            f"{kwargs.warmup_teacher_temperature_epochs}: longer than training (max_epochs is "
            f"{max_epochs}); lower it"
        )


def check_mocov2(kwargs: Any, written: Mapping[str, Any] | None, run: Any) -> None:
    """Raises ConfigError for split BatchNorm that cannot be, or mixtures of a one-sided loss.

    ``kwargs`` are official MoCo's checked ones, ``written`` those with the blocks of strategies,
    ``run`` is the whole configuration.
    """
    splits, batch_size = kwargs.bn_splits, run.optimizer.batch_size
    if batch_size % splits:
        raise ConfigError(
            f"method_kwargs.bn_splits is {splits}: it must divide optimizer.batch_size "
            f"({batch_size}), so that all groups are of one size"
        )
    if splits > 1 and getattr(run, "sync_batchnorm", False):
        raise ConfigError(
            f"method_kwargs.bn_splits is {splits} and sync_batchnorm is true: one makes the "
            "groups of BatchNorm smaller than a process's batch, the other larger; choose one"
        )
    blocks = {name: b for name, b in (written or {}).items() if isinstance(b, Mapping)}
    for (key, value), reason in ONE_SIDED.items():
        for name, block in blocks.items():
            if block.get(key) == value and not kwargs.symmetric:
                raise ConfigError(f"method_kwargs.{name}.{key} is {value}: {reason}")


def each_view_predicts(cfg: Any) -> bool:
    """Whether all large crops predict, and a momentum network gives the targets.

    Elsewhere a view is either (ReSSL, MoCo v2 in one direction), or one network gives both.
    """
    if cfg.method == "mocov2":
        return bool((cfg.get("method_kwargs") or {}).get("symmetric", False))
    return cfg.method in _EACH_PREDICTS


def read_devices(
    devices: int | list[int] | str, accelerator: str, visible: int | None
) -> int | list[int] | str:
    """``devices`` in a form that Lightning takes on this accelerator; text may be a list, ``0,1``.

    ``visible`` is None where nobody knows. Raises ConfigError for what cannot be, or is not there.
    """
    if isinstance(devices, str) and devices != "auto":
        try:
            indices = [int(part) for part in devices.split(",") if part.strip()]
        except ValueError:
            raise ConfigError(f"devices is {devices!r}: {_DEVICES}") from None
        devices = indices if "," in devices or not indices else indices[0]
    if isinstance(devices, list):
        wrong = not devices or min(devices) < 0 or len(set(devices)) < len(devices)
    else:
        wrong = devices != "auto" and (devices == 0 or int(devices) < -1)
    if wrong:
        raise ConfigError(f"devices is {devices}: {_DEVICES}")
    if accelerator == "mps":
        raise ConfigError(
            "accelerator is mps: lambda, masks and the k-NN's counts are float64, which it does "
            "not have; set cpu"
        )
    if accelerator == "cpu" or (accelerator == "auto" and visible == 0):
        # Lightning knows no indices of CPUs: [0] of solo-learn's files means one process there
        return count_devices(devices, 0)
    if accelerator in ("gpu", "cuda") and visible == 0:
        raise ConfigError(f"accelerator is {accelerator}: no such device is visible; set cpu")
    if visible and count_devices(devices, visible) > visible:
        raise ConfigError(f"devices is {devices}: {visible} are visible here")
    return devices


def count_devices(devices: int | list[int] | str, visible: int | None) -> int:
    """Processes per node; -1 and ``auto`` stand for the ``visible`` ones, at least one."""
    if isinstance(devices, list):
        return len(devices)
    return devices if isinstance(devices, int) and devices > 0 else max(1, visible or 1)

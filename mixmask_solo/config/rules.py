# SPDX-License-Identifier: MIT
"""Rules between blocks: what solo-learn asserts without a word, or not at all, said ahead."""

from collections.abc import Mapping, Sequence
from typing import Any

from mixmask_solo.config.errors import ConfigError

# whose loss is written for exactly two large crops
_TWO_VIEWS = (
    *("mocov2", "mocov2plus", "simsiam"),
    *("barlow_twins", "dino", "mocov3", "nnbyol", "nnclr", "nnsiam", "ressl", "vicreg"),
)
# whose queue a whole number of steps has to fill
_QUEUES = ("mocov2", "mocov2plus", "nnbyol", "nnclr", "nnsiam", "ressl")
_ONE_SIDED = (
    "with method_kwargs.symmetric false view 1 is only a query and view 2 only a key; set "
    "symmetric to true, or leave {} out"
)
ONE_SIDED = {(k, v): _ONE_SIDED.format(k) for k, v in (("targets", "both"), ("pairing", "pair"))}
"""What asymmetric MoCo refuses of a block or a branch, by option and value, and why."""
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
    if method in _TWO_VIEWS and (large, small) != (2, 0):
        raise ConfigError(
            f"augmentations makes {large} large and {small} small crops: the loss of {method} "
            "takes exactly 2 large ones"
        )
    return large, small


def check_schedule(scheduler: Any, max_epochs: int) -> None:
    """Raises ConfigError for a schedule that a run of ``max_epochs`` cannot go through."""
    if scheduler.name.startswith("warmup") and scheduler.warmup_epochs > max_epochs:
        raise ConfigError(
            f"scheduler.warmup_epochs is {scheduler.warmup_epochs:g}: longer than training "
            f"(max_epochs is {max_epochs}); lower it, 0 for no warm-up"
        )
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


def check_mocov2(
    kwargs: Any, written: Mapping[str, Any] | None, *, batch_size: int, sync_batchnorm: bool
) -> None:
    """Raises ConfigError for split BatchNorm that cannot be, or mixtures of a one-sided loss.

    ``kwargs`` are official MoCo's checked ones, ``written`` those with the blocks of strategies,
    ``batch_size`` images of one process.
    """
    splits = kwargs.bn_splits
    if batch_size % splits:
        raise ConfigError(
            f"method_kwargs.bn_splits is {splits}: it must divide optimizer.batch_size "
            f"({batch_size}), so that all groups are of one size"
        )
    if splits > 1 and sync_batchnorm:
        raise ConfigError(
            f"method_kwargs.bn_splits is {splits} and sync_batchnorm is true: one makes the "
            "groups of BatchNorm smaller than a process's batch, the other larger; choose one"
        )
    blocks = {name: b for name, b in (written or {}).items() if isinstance(b, Mapping)}
    for (key, value), reason in ONE_SIDED.items():
        for name, block in blocks.items():
            if block.get(key) == value and not kwargs.symmetric:
                raise ConfigError(f"method_kwargs.{name}.{key} is {value}: {reason}")

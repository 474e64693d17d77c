# SPDX-License-Identifier: MIT
"""What solo-learn asserts without a word, or not at all, said before a run starts."""

from __future__ import annotations

from typing import Any

from mixmask_solo.config.errors import ConfigError
from mixmask_solo.config.moco import check_queue

__all__ = ["check_solo_only"]

_QUEUES = ("nnbyol", "nnclr", "nnsiam", "ressl")


def check_solo_only(method: str, kwargs: Any, *, batch: int, max_epochs: int, large: int) -> None:
    """Cross-checks of the methods that only solo-learn has.

    Args:
        method: its name.
        kwargs: its checked ``method_kwargs``.
        batch: images of all processes in a step.
        max_epochs: of the run.
        large: large crops of each image.

    Raises:
        ConfigError: for a queue that the steps do not fill, or a schedule longer than the run.
    """
    if method in _QUEUES:
        check_queue(kwargs.queue_size, batch, twice=False)
    if method == "swav" and 0 < kwargs.queue_size < batch:
        raise ConfigError(
            f"method_kwargs.queue_size is {kwargs.queue_size}: it must hold at least the global "
            f"batch {batch} (optimizer.batch_size x devices x num_nodes), or be 0 for no queue"
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

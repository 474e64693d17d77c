# SPDX-License-Identifier: MIT
"""What MoCo's keys mean for each other, the batch and the mixtures."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from mixmask_solo.config.errors import ConfigError

__all__ = ["check_mocov2", "check_queue"]


def check_queue(queue_size: int, batch: int, *, twice: bool) -> None:
    """Refuses a queue that a whole number of steps does not fill.

    Args:
        queue_size: ``method_kwargs.queue_size``.
        batch: images of all processes in a step.
        twice: the one queue takes the keys of both views.

    Raises:
        ConfigError: naming the nearest size that fits.
    """
    keys = batch * (1 + twice)
    if queue_size % keys:
        raise ConfigError(
            f"method_kwargs.queue_size is {queue_size}: it must be a multiple of "
            f"{'twice ' * twice}the global batch {batch} (optimizer.batch_size x devices x "
            f"num_nodes), e.g. {max(1, round(queue_size / keys)) * keys}"
        )


def check_mocov2(
    kwargs: Any, written: Mapping[str, Any] | None, *, batch_size: int, sync_batchnorm: bool
) -> None:
    """Cross-checks of official MoCo.

    Args:
        kwargs: its checked ``method_kwargs``.
        written: the same as the user wrote them, with the blocks of strategies.
        batch_size: images of one process.
        sync_batchnorm: whether BatchNorm sees all processes.

    Raises:
        ConfigError: for split BatchNorm that cannot be, or mixtures that need a symmetric loss.
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
    for key, value in (("targets", "both"), ("pairing", "pair")):
        for name, block in blocks.items():
            if block.get(key) == value and not kwargs.symmetric:
                raise ConfigError(
                    f"method_kwargs.{name}.{key} is {value}: with method_kwargs.symmetric false "
                    "view 1 is only a query and view 2 only a key; set symmetric to true, or "
                    f"leave {key} out"
                )

# SPDX-License-Identifier: MIT
"""Loaders and their workers."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import torch
from torch.utils.data import Dataset, Sampler, default_collate

from mixmask_solo.config import ConfigError
from mixmask_solo.data.order.cores import core_share
from mixmask_solo.data.order.prefetch import prefetched
from mixmask_solo.data.order.sampler import EpochBatches
from mixmask_solo.data.order.workers import Loader

__all__ = ["EpochLoader", "PlainLoader", "Resumable", "plain_loader", "worker_count"]


class Resumable:
    """Loaders that go on in mid-epoch, whoever decodes for them.

    The trainer's own counters say where to go on, and a run compares whatever decides the batches
    before it begins (runs/contradictions.py). Having a state tells Lightning that resuming is safe.
    """

    batches: EpochBatches

    def state_dict(self) -> dict[str, int]:
        """Nothing is needed."""
        return {}

    def load_state_dict(self, state: dict[str, int]) -> None:
        """Nothing is needed."""


class EpochLoader(Resumable, Loader):
    """A loader with worker processes that goes on in mid-epoch.

    Args:
        dataset: what the workers do with one ``(epoch, index)``, or with a list of them.
        batches: which images form which batch.
        num_workers: worker processes.
        collate: from the dataset's samples to a batch.
        device: where training runs; batches are sent there ahead of time.
        channels_last: memory format of images on a GPU.
        in_memory: the dataset has ``__getitems__``, which makes batches where they are needed.
    """

    def __init__(
        self,
        dataset: Dataset[Any],
        batches: EpochBatches,
        num_workers: int,
        collate: Callable[[Any], Any] = default_collate,
        *,
        device: torch.device | None = None,
        channels_last: bool = False,
        in_memory: bool = False,
    ) -> None:
        options = {"collate_fn": collate} | _common(num_workers, in_memory)
        super().__init__(dataset, batch_sampler=batches, **options)
        self.batches = batches
        self.device = None if in_memory else device
        self.channels_last = channels_last

    def __iter__(self) -> Any:
        """The batches from where training stands when the *first* of them is asked for.

        Not from where it stands now: a trainer that resumes makes its first iterator while
        counting the steps of its schedule, before it has restored its counters.
        """
        yield from prefetched(super().__iter__(), self.device, channels_last=self.channels_last)


class PlainLoader(Loader):
    """A loader of images of which some may be left out: batches hold those that are there."""

    def __iter__(self) -> Any:
        """The batches that hold an image."""
        return (batch for batch in super().__iter__() if batch is not None)


def plain_loader(
    dataset: Dataset[Any],
    batch_size: int,
    num_workers: int,
    sampler: Sampler[int] | None = None,
    collate: Callable[[Any], Any] | None = None,
    *,
    in_memory: bool = False,
) -> PlainLoader:
    """All images once, in order, the incomplete last batch included; arguments as above."""
    options = {"collate_fn": collate or collate_present} | _common(num_workers, in_memory)
    return PlainLoader(dataset, batch_size=batch_size, sampler=sampler, shuffle=False, **options)


def collate_present(samples: list[Any]) -> Any:
    """A batch of the samples that are not None; None where all are."""
    present = [sample for sample in samples if sample is not None]
    return default_collate(present) if present else None


def worker_count(setting: Any, processes: int = 1) -> int:
    """The number of worker processes of one loader.

    Args:
        setting: ``data.num_workers``: a number, or ``auto`` for the cores this process may use,
            shared evenly among the training processes of the machine. Training on the CPU keeps
            most of them for itself: a quarter then.
        processes: training processes on this machine.

    Raises:
        ConfigError: for anything else.
    """
    if setting is None or setting == "auto":
        share = core_share(processes)
        return share if torch.cuda.is_available() else share // 4
    if isinstance(setting, int) and not isinstance(setting, bool) and setting >= 0:
        return setting
    raise ConfigError(f"data.num_workers is {setting!r}: give auto or a whole number, at least 0")


def _common(num_workers: int, in_memory: bool) -> dict[str, Any]:
    options = {
        "num_workers": num_workers,
        "pin_memory": torch.cuda.is_available(),
        "persistent_workers": num_workers > 0,
        # of its own: a loader without one draws its workers' seed from the global generator
        "generator": torch.Generator().manual_seed(0),
    }
    if in_memory:  # what the dataset gives is a batch already, perhaps on a GPU
        options |= {"pin_memory": False, "collate_fn": _as_it_is}
    return options


def _as_it_is(batch: Any) -> Any:
    return batch

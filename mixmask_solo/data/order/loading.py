# SPDX-License-Identifier: MIT
"""Loaders of training batches, which go on in mid-epoch, and of images in order."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator
from typing import Any

import torch
from torch.utils.data import BatchSampler, Dataset, Sampler, default_collate

from mixmask_solo.data.order.prefetch import prefetched
from mixmask_solo.data.order.sampler import EpochBatches
from mixmask_solo.data.order.workers import Loader

__all__ = ["DirectLoader", "EpochLoader", "PlainLoader", "as_it_is", "collate_present"]


class Resumable:
    """Loaders that go on in mid-epoch, whoever decodes for them.

    The trainer's own counters say where to go on, and a run compares whatever decides the batches
    before it begins (runs/contradictions.py). Having a state tells Lightning that resuming is safe.
    """

    def state_dict(self) -> dict[str, int]:
        """Nothing is needed."""
        return {}

    def load_state_dict(self, state: dict[str, int]) -> None:
        """Nothing is needed."""


class EpochLoader(Resumable, Loader):
    """A loader of training batches with worker processes.

    Args:
        dataset: what the workers do with one ``(epoch, index)``, or with a list of them.
        batches: which images form which batch.
        num_workers: worker processes.
        collate: from the dataset's samples to a batch.
        device: where training runs; batches are sent there ahead of time.
        channels_last: memory format of images on a GPU.
    """

    def __init__(
        self,
        dataset: Dataset[Any],
        batches: EpochBatches,
        num_workers: int,
        collate: Callable[[Any], Any],
        *,
        device: torch.device,
        channels_last: bool,
    ) -> None:
        options = _options(num_workers)
        super().__init__(dataset, batch_sampler=batches, collate_fn=collate, **options)
        self.batches = batches
        self.device = device
        self.channels_last = channels_last

    def __iter__(self) -> Any:
        """The batches from where training stands when the *first* of them is asked for.

        Not from where it stands now: a trainer that resumes makes its first iterator while
        counting the steps of its schedule, before it has restored its counters.
        """
        yield from prefetched(super().__iter__(), self.device, channels_last=self.channels_last)


class PlainLoader(Loader):
    """A loader of all images once, in order, the incomplete last batch included.

    Args:
        dataset: what the workers do with one index, None for an image that is left out.
        indexes: of the images.
        batch_size: images of a batch.
        num_workers: worker processes.
        collate: from the dataset's samples to a batch, None where none is there.
    """

    def __init__(
        self,
        dataset: Dataset[Any],
        indexes: Sampler[int],
        batch_size: int,
        num_workers: int,
        collate: Callable[[Any], Any],
    ) -> None:
        options = _options(num_workers)
        super().__init__(dataset, batch_size, sampler=indexes, collate_fn=collate, **options)

    def __iter__(self) -> Any:
        """The batches that hold an image."""
        return (batch for batch in super().__iter__() if batch is not None)


class DirectLoader(Resumable):
    """A loader for decoders that make whole batches in this process, perhaps on a GPU.

    Args:
        dataset: what has as many items as there are images.
        batches: which images form which batch.
        make: from lists of ``(epoch, index)``, or of indexes, to batches; None is passed over.
    """

    def __init__(
        self,
        dataset: Any,
        batches: EpochBatches | BatchSampler,
        make: Callable[[Any], Iterable[Any]],
    ) -> None:
        self.dataset = dataset
        self.batches = batches
        self.make = make

    def __len__(self) -> int:
        return len(self.batches)

    def __iter__(self) -> Iterator[Any]:
        """The batches from where training stands when the first of them is asked for."""
        yield from (batch for batch in self.make(self.batches) if batch is not None)


def as_it_is(batch: Any) -> Any:
    """The collation of a dataset that gives whole batches."""
    return batch


def collate_present(samples: list[Any]) -> Any:
    """A batch of the samples that are not None; None where all are."""
    present = [sample for sample in samples if sample is not None]
    return default_collate(present) if present else None


def _options(num_workers: int) -> dict[str, Any]:
    return {
        "num_workers": num_workers,
        "pin_memory": torch.cuda.is_available(),
        "persistent_workers": num_workers > 0,
        # of its own: a loader without one draws its workers' seed from the global generator
        "generator": torch.Generator().manual_seed(0),
    }

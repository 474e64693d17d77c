# SPDX-License-Identifier: MIT
"""Loaders: whichever batches are asked for, made by worker processes or in this one."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator
from typing import Any

import torch
from torch.utils.data import BatchSampler, Dataset, default_collate

from mixmask_solo.data.order.prefetch import prefetched
from mixmask_solo.data.order.sampler import EpochBatches
from mixmask_solo.data.order.workers import Loader

Batches = EpochBatches | BatchSampler
"""Which images form which batch."""


class _Resumable:
    """Loaders that go on in mid-epoch, whoever decodes for them.

    They start where training stands when the *first* batch of an iteration is asked for: a trainer
    that resumes makes its first iterator before it has restored its counters, which say where to
    go on. Having a state tells Lightning that resuming is safe.
    """

    def state_dict(self) -> dict[str, int]:
        """Nothing is needed."""
        return {}

    def load_state_dict(self, state: dict[str, int]) -> None:
        """Nothing is needed."""


class WorkerLoader(_Resumable, Loader):
    """Batches that worker processes make.

    The dataset gives one item of a batch, None for an image that is left out, or a whole batch,
    which ``collate`` then lets pass; None for a batch without images, which is passed over.
    """

    device: torch.device | None = None
    channels_last = False

    def __init__(
        self,
        dataset: Dataset[Any],
        batches: Batches,
        num_workers: int,
        collate: Callable[[Any], Any] | None = None,
    ) -> None:
        super().__init__(
            dataset,
            batch_sampler=batches,
            num_workers=num_workers,
            collate_fn=collate or _collate_present,
            pin_memory=torch.cuda.is_available(),
            persistent_workers=num_workers > 0,
            # of its own: a loader without one draws its workers' seed from the global generator
            generator=torch.Generator().manual_seed(0),
        )
        self.batches = batches

    def ahead(self, device: torch.device, *, channels_last: bool) -> WorkerLoader:
        """This loader, with :func:`prefetched` batches."""
        self.device, self.channels_last = device, channels_last
        return self

    def __iter__(self) -> Any:
        made = super().__iter__()
        present = (batch for batch in made if batch is not None)
        yield from prefetched(present, self.device, channels_last=self.channels_last)


class DirectLoader(_Resumable):
    """Batches that this process makes, perhaps on a GPU.

    ``make`` turns ``batches`` into what training takes, None where all images are left out;
    ``dataset`` has as many items as there are images.
    """

    def __init__(
        self,
        dataset: Any,
        batches: Batches,
        make: Callable[[Any], Iterable[Any]],
    ) -> None:
        self.dataset = dataset
        self.batches = batches
        self.make = make

    def __len__(self) -> int:
        return len(self.batches)

    def __iter__(self) -> Iterator[Any]:
        yield from (batch for batch in self.make(self.batches) if batch is not None)


def as_it_is(batch: Any) -> Any:
    """The collation of a dataset that gives whole batches."""
    return batch


def _collate_present(samples: list[Any]) -> Any:
    present = [sample for sample in samples if sample is not None]
    return default_collate(present) if present else None

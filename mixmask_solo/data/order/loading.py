# SPDX-License-Identifier: MIT
"""Loaders: whichever batches are asked for, made by worker processes or in this one.

From workers they may go to a GPU while the batch before is still being trained on.
"""

from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass
from typing import Any

import torch
from lightning_utilities.core.apply_func import apply_to_collection
from torch import Tensor
from torch.utils.data import BatchSampler, Dataset, default_collate

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
    which ``collate`` then lets pass; None for a batch without images, which is passed over. Batches
    are :func:`prefetched` to ``device``.
    """

    def __init__(
        self,
        dataset: Dataset[Any],
        batches: Batches,
        num_workers: int,
        collate: Callable[[Any], Any] | None = None,
        *,
        device: torch.device | None = None,
        channels_last: bool = False,
    ) -> None:
        super().__init__(
            dataset,
            batch_sampler=batches,
            num_workers=num_workers,
            collate_fn=collate or _collate_present,
            pin_memory=device is not None and device.type == "cuda",
            persistent_workers=num_workers > 0,
            # of its own: a loader without one draws its workers' seed from the global generator
            generator=torch.Generator().manual_seed(0),
        )
        self.batches = batches
        self.device, self.channels_last = device, channels_last

    def __iter__(self) -> Any:
        made = super().__iter__()
        present = (batch for batch in made if batch is not None)
        yield from prefetched(present, self.device, channels_last=self.channels_last)


@dataclass(eq=False)
class DirectLoader(_Resumable):
    """Batches that this process makes, perhaps on a GPU."""

    dataset: Any  # has as many items as there are images
    batches: Batches | range  # what ``make`` goes through
    make: Callable[[Any], Iterable[Any]]  # what training takes; None where images are left out

    def __len__(self) -> int:
        return len(self.batches)

    def __iter__(self) -> Iterator[Any]:
        yield from (batch for batch in self.make(self.batches) if batch is not None)


def as_it_is(batch: Any) -> Any:
    """The collation of a dataset that gives whole batches."""
    return batch


def prefetched(
    batches: Iterable[Any], device: torch.device | None, *, channels_last: bool = False
) -> Iterator[Any]:
    """The batches on the device, each sent there one step ahead.

    Copies run on a stream of their own, so they overlap with training as far as the batches lie in
    pinned memory. On the CPU, or without a device, batches pass unchanged. Batches are tensors or
    collections of them; images (4 axes) may get the memory format ``channels_last`` there.
    """
    if device is None or device.type != "cuda":
        yield from batches
        return
    stream = torch.cuda.Stream(device)
    sent = None
    for batch in batches:
        ready, sent = sent, _send(batch, device, stream, channels_last)
        if ready is not None:
            yield _received(ready, device)
    if sent is not None:
        yield _received(sent, device)


def _collate_present(samples: list[Any]) -> Any:
    present = [sample for sample in samples if sample is not None]
    return default_collate(present) if present else None


def _send(batch: Any, device: torch.device, stream: torch.cuda.Stream, channels_last: bool) -> Any:
    def copied(x: Tensor) -> Tensor:
        x = x.to(device, non_blocking=True)
        images = channels_last and x.ndim == 4
        return x.contiguous(memory_format=torch.channels_last) if images else x

    with torch.cuda.stream(stream):
        event = torch.cuda.Event()
        copy = apply_to_collection(batch, Tensor, copied)
        event.record(stream)
    return copy, event


def _received(sent: Any, device: torch.device) -> Any:
    batch, event = sent
    training = torch.cuda.current_stream(device)
    training.wait_event(event)
    # its memory must not be given to a later copy before training is done with it
    apply_to_collection(batch, Tensor, lambda x: x.record_stream(training))
    return batch

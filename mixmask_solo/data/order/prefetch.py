# SPDX-License-Identifier: MIT
"""Batches on their way to the GPU while the one before is still being trained on."""

from collections.abc import Iterable, Iterator
from typing import Any

import torch
from lightning_utilities.core.apply_func import apply_to_collection
from torch import Tensor


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

# SPDX-License-Identifier: MIT
"""MoCo's queue: the keys of the last batches, as buffers of the method that owns them."""

from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor, nn


class KeyQueue(nn.Module):
    """Mixin of a method: the buffers ``queue (..., D, K)`` and ``queue_ptr (1,)``.

    One key a column. The buffers keep their names in the ``state_dict``; where the next keys go is
    known on the Python side too, because reading the buffer would make every step wait for the
    device.
    """

    queue: Tensor
    queue_ptr: Tensor
    queue_size: int
    _pointer: int | None

    def add_queue(self, *shape: int) -> None:
        """Registers a queue of ``shape (..., D, K)`` with random unit columns."""
        self.queue_size = shape[-1]
        self.register_buffer("queue", F.normalize(torch.randn(*shape), dim=-2))
        self.register_buffer("queue_ptr", torch.zeros(1, dtype=torch.long))
        self._pointer = None
        self.register_load_state_dict_post_hook(_forget_pointer)

    @torch.no_grad()
    def _dequeue_and_enqueue(self, keys: Tensor) -> None:
        """Overwrites the oldest keys by ``keys (..., N, D)``, those of all processes.

        Raises:
            ValueError: where the ring does not close.
        """
        n = keys.shape[-2]
        if self.queue_size % n:
            raise ValueError(
                f"method_kwargs.queue_size is {self.queue_size}: it has to be a multiple of the "
                f"keys of a step, and this one has those of {n} images; change it or the batch "
                "size, and drop the last incomplete batch"
            )
        if self._pointer is None:
            self._pointer = int(self.queue_ptr)
        self.queue[..., self._pointer : self._pointer + n] = keys.transpose(-2, -1)
        self._pointer = (self._pointer + n) % self.queue_size
        self.queue_ptr.fill_(self._pointer)


def _forget_pointer(module: nn.Module, _: Any) -> None:
    """The buffer was loaded; it is read once, at the next step."""
    module._pointer = None  # type: ignore[assignment]

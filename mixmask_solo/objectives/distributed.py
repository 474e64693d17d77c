# SPDX-License-Identifier: MIT
"""What a contrastive loss needs of the other processes."""

from typing import Any

import torch
import torch.distributed as dist
from torch import Tensor


def world_size() -> int:
    """Number of processes, 1 without ``torch.distributed``."""
    return dist.get_world_size() if dist.is_available() and dist.is_initialized() else 1


def rank() -> int:
    """This process's rank, 0 without ``torch.distributed``."""
    return dist.get_rank() if dist.is_available() and dist.is_initialized() else 0


def gather(x: Tensor) -> Tensor:
    """Rows ``(world · N, ...)`` of every process's ``x (N, ...)``, in rank order.

    Gradients flow back to each process's own rows; a single process gets ``x`` itself.
    """
    if world_size() == 1:
        return x
    return _Gather.apply(x)


@torch.no_grad()
def gather_keys(x: Tensor) -> Tensor:
    """Like :func:`gather`, without gradient."""
    if world_size() == 1:
        return x.detach()
    x = x.detach().contiguous()
    parts = [torch.empty_like(x) for _ in range(world_size())]
    dist.all_gather(parts, x)
    return torch.cat(parts)


class _Gather(torch.autograd.Function):
    """The gradient of a row is the sum over what all processes make of it."""

    @staticmethod
    def forward(ctx: Any, x: Tensor) -> Tensor:
        return gather_keys(x)

    @staticmethod
    def backward(ctx: Any, grad: Tensor) -> Tensor:
        total = grad.clone(memory_format=torch.contiguous_format)
        dist.all_reduce(total)
        return total.chunk(world_size())[rank()]


def mean_over_ranks(x: Tensor) -> Tensor:
    """Mean of a statistic, any shape, over all processes; gradients flow to this one's part alone.

    So does the ``all_reduce`` of Barlow Twins, which autograd does not see: each process gets the
    derivative by its own rows, which DDP then divides by the number of processes once more.
    """
    if world_size() == 1:
        return x
    total = x.detach().clone()
    dist.all_reduce(total)
    # Value of the sum, gradient of this process's summand.
    return (x + (total - x.detach())) / world_size()

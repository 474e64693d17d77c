# SPDX-License-Identifier: MIT
"""MoCo's shuffled keys: the key encoder never norms an image together with its query's batch."""

from collections.abc import Callable

import torch
from torch import Tensor

from mixmask_solo.objectives import gather_keys
from mixmask_solo.objectives.distributed import rank, world_size
from mixmask_solo.strategies import Step

Encode = Callable[[Tensor], dict[str, Tensor]]


class Permutations:
    """One permutation after the other for the key batches of a step, the same on all ranks."""

    def __init__(self, step: Step) -> None:
        self._step = step
        self._drawn = 0

    def next(self, n: int, device: torch.device) -> Tensor:
        """``(n,)`` int64 on ``device``; drawn on the CPU, so that no rank waits for its device."""
        generator = self._step.shared(f"mocov2.shuffle.{self._drawn}")
        self._drawn += 1
        order = torch.randperm(n, generator=generator)
        return order.pin_memory().to(device, non_blocking=True) if device.type == "cuda" else order


@torch.no_grad()
def encode_shuffled(encode: Encode, x: Tensor, permutations: Permutations) -> dict[str, Tensor]:
    """Encodes the images of all processes in another order; every process gets its own rows back.

    In one process the images ``x (N, C, H, W)`` only change their groups of split BatchNorm. In W
    processes all are gathered, so that each encodes N that were drawn from all ranks. One of the
    step's permutations is used up.
    """
    n, everything = len(x), gather_keys(x)
    order = permutations.next(n * world_size(), x.device)
    mine = slice(rank() * n, (rank() + 1) * n)
    out = encode(everything[order[mine]])
    back = order.argsort()[mine]
    return {name: gather_keys(rows)[back] for name, rows in out.items()}

# SPDX-License-Identifier: MIT
"""BatchNorm's running statistics as of another order or number of passes than were computed.

A published loop that forwards the same images twice gets the same activations twice, but its
running statistics, which evaluation reads, move twice. One pass is enough for both: at momentum 1
it leaves its own batch statistics in the buffers, and those are folded in as often and in the
order that the loop would have.
"""

from collections import defaultdict
from collections.abc import Sequence
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn.modules.batchnorm import _BatchNorm

from mixmask_solo.networks.split_norm import SplitBatchNorm2d


class PassStatistics:
    """Keeps the statistics of each pass in its ``with`` block, to :meth:`fold` them behind it.

    Each pass goes through all ``networks`` once and wholly; it ends behind the last one. Works for
    every BatchNorm of torch, synchronised and split ones too. Norms in eval mode or without running
    statistics are left alone. The block itself, also one that fails, leaves running means and
    variances as they were before it.
    """

    def __init__(self, *networks: nn.Module) -> None:
        self._networks = networks

    def __enter__(self) -> "PassStatistics":
        norms = [m for n in self._networks for m in n.modules() if isinstance(m, _BatchNorm)]
        norms = [m for m in norms if m.training and m.track_running_stats]
        self._norms = [(norm, norm.momentum) for norm in norms]
        alike = defaultdict(list)
        for norm in norms:
            alike[norm.momentum, _seen(norm)].append(norm)
        self._groups = [_Group(*key, members) for key, members in alike.items()]
        self._hook = self._networks[-1].register_forward_hook(self._end_pass)
        for norm in norms:
            norm.momentum = 1.0
        return self

    def __exit__(self, *_: object) -> None:
        self._hook.remove()
        for norm, momentum in self._norms:
            norm.momentum = momentum
        for group in self._groups:
            group.write(group.before)

    def fold(self, order: Sequence[int]) -> None:
        """Moves the running statistics, each time by the pass that ``order`` names, from 0."""
        for group in self._groups:
            group.fold(order)

    def _end_pass(self, *_: Any) -> None:
        for group in self._groups:
            group.passes.append(group.read())


def _seen(norm: _BatchNorm) -> int:
    """Batches so far, where every one of them counts alike; torch reads it at each pass, too."""
    return 0 if norm.momentum is not None else int(norm.num_batches_tracked or 0)


class _Group:
    """Norms that move alike; their running statistics as one vector, for one kernel a move."""

    def __init__(self, momentum: float | None, seen: int, norms: Sequence[_BatchNorm]) -> None:
        self.momentum = momentum
        self.seen = seen
        pairs = [(m.running_mean, m.running_var) for m in norms]
        # By `data`: autograd watches what a pass was given, though in training its backward pass
        # reads the batch's statistics and never these.
        self._running: list[Tensor] = [x.data for pair in pairs for x in pair if x is not None]
        # Split BatchNorm does not count, as published.
        counts = [m.num_batches_tracked for m in norms if not isinstance(m, SplitBatchNorm2d)]
        self._counts = [count for count in counts if count is not None]
        self.before = self.read()
        self.passes: list[Tensor] = []

    def read(self) -> Tensor:
        return torch.cat(self._running)

    def write(self, statistics: Tensor) -> None:
        parts = statistics.split([len(x) for x in self._running])
        torch._foreach_copy_(self._running, parts)

    def fold(self, order: Sequence[int]) -> None:
        moved = self.before
        for n, index in enumerate(order, start=1):
            share = 1.0 / (self.seen + n) if self.momentum is None else self.momentum
            moved = torch.lerp(moved, self.passes[index], share)
        self.write(moved)
        if self._counts and len(order) != len(self.passes):
            torch._foreach_add_(self._counts, len(order) - len(self.passes))

# SPDX-License-Identifier: MIT
"""The momentum network's parameters follow the online ones by an exponential moving average."""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Any

import torch
from torch import Tensor, nn

__all__ = ["MomentumUpdater", "cosine_tau", "initialize_momentum_params"]

Pairs = Sequence[tuple[nn.Module, nn.Module]]


def cosine_tau(base: float, final: float, step: int, max_steps: float) -> float:
    """τ after ``step`` of ``max_steps`` optimiser steps, from ``base`` to ``final`` by a cosine."""
    return final - (final - base) * (math.cos(math.pi * step / max_steps) + 1) / 2


@torch.no_grad()
def initialize_momentum_params(online: nn.Module, momentum: nn.Module) -> None:
    """Copies the online parameters and switches the momentum ones' gradients off."""
    for source, target in zip(online.parameters(), momentum.parameters(), strict=True):
        target.copy_(source)
        target.requires_grad = False


class MomentumUpdater:
    """Parameters only, as published: buffers of the momentum network are its own.

    Args:
        base_tau: share of the old momentum parameters that stays, at the start.
        final_tau: the same at the end of training.
    """

    def __init__(self, base_tau: float = 0.996, final_tau: float = 1.0) -> None:
        if not 0 <= base_tau <= final_tau <= 1:
            raise ValueError(
                f"momentum.base_tau is {base_tau} and final_tau {final_tau}: "
                "needed is 0 <= base_tau <= final_tau <= 1"
            )
        self.base_tau = base_tau
        self.final_tau = final_tau
        self.cur_tau = base_tau
        self._tensors: tuple[list[Tensor], list[Tensor]] | None = None

    def __getstate__(self) -> dict[str, Any]:
        return self.__dict__ | {"_tensors": None}  # a copy collects its own

    def forget(self) -> None:
        """Collects the parameters anew at the next update; for when they were replaced."""
        self._tensors = None

    def update(self, online: nn.Module, momentum: nn.Module) -> None:
        """One step of the average of one pair of modules."""
        _lerp(*_parameters([(online, momentum)]), self.cur_tau)

    def update_pairs(self, pairs: Pairs) -> None:
        """One step of the average of all pairs, in place and in one fused call.

        The lists of parameters are collected once: walking through a ResNet-50's modules takes
        longer than a GPU's kernel for them all.
        """
        if self._tensors is None:
            self._tensors = _parameters(pairs)
        _lerp(*self._tensors, self.cur_tau)

    def update_tau(self, cur_step: int, max_steps: float) -> None:
        """Sets τ for the update that follows step ``cur_step``; a closed form, so no history."""
        self.cur_tau = cosine_tau(self.base_tau, self.final_tau, cur_step, max_steps)


def _parameters(pairs: Pairs) -> tuple[list[Tensor], list[Tensor]]:
    online: list[Tensor] = [p for source, _ in pairs for p in source.parameters()]
    momentum: list[Tensor] = [p for _, target in pairs for p in target.parameters()]
    return online, momentum


@torch.no_grad()
def _lerp(online: list[Tensor], momentum: list[Tensor], tau: float) -> None:
    torch._foreach_lerp_(momentum, online, 1.0 - tau)

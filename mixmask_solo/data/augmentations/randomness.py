# SPDX-License-Identifier: MIT
# ruff: noqa: NPY002  (it is about the global generator, which others draw from)
"""Random numbers that depend on (seed, epoch, index, view) and on nothing else."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager

import numpy as np
import torch

__all__ = ["keep_global_rng", "mix", "numpy_seeded", "reseed"]

_WORD = (1 << 64) - 1


def mix(*values: int) -> int:
    """One well-mixed 64-bit number from several integers; their order matters.

    Args:
        values: any integers, negative ones included.

    Returns:
        A number from 0 to 2^64 - 1, the same on every machine (SplitMix64's output function,
        Steele et al. 2014, chained over the values).
    """
    state = 0x9E3779B97F4A7C15
    for value in values:
        state = (state + (value & _WORD) + 0x9E3779B97F4A7C15) & _WORD
        state = ((state ^ (state >> 30)) * 0xBF58476D1CE4E5B9) & _WORD
        state = ((state ^ (state >> 27)) * 0x94D049BB133111EB) & _WORD
        state ^= state >> 31
    return state


def reseed(*key: int) -> None:
    """Starts the generator torchvision's transforms draw from; CPU only, CUDA's stay untouched."""
    torch.default_generator.manual_seed(mix(*key))


@contextmanager
def keep_global_rng() -> Iterator[None]:
    """Gives the global CPU generator its state back, so that loading in the main process is
    without effect on the training that runs there."""
    state = torch.default_generator.get_state()
    try:
        yield
    finally:
        torch.default_generator.set_state(state)


@contextmanager
def numpy_seeded(*key: int) -> Iterator[None]:
    """NumPy's global generator starts from ``key`` and gets its own state back afterwards."""
    state = np.random.get_state()
    np.random.seed(np.frombuffer(mix(*key).to_bytes(8, "little"), dtype="<u4"))
    try:
        yield
    finally:
        np.random.set_state(state)

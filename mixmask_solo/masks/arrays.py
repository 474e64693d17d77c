# SPDX-License-Identifier: MIT
"""Arrays that are NumPy views of tensors on the CPU and the tensors themselves elsewhere.

The blocked generator makes hundreds of tiny integer operations; NumPy spends a third of torch's
time on each of them. Code that keeps to what both libraries share (operators, indexing, ``take``,
``clip``) runs on either, so CUDA needs no path of its own. Random numbers always come from torch.
"""

from __future__ import annotations

from typing import Any, TypeAlias

import numpy as np
import torch
from torch import Tensor

__all__ = ["Array", "indices", "native", "popcount", "swar_popcount", "where"]

Array: TypeAlias = Any  # np.ndarray or Tensor: neither mypy nor a protocol covers both

_BITWISE_COUNT = getattr(np, "bitwise_count", None)  # NumPy 2 and later


def native(tensor: Tensor) -> Array:
    """``tensor`` as a zero-copy NumPy view where it lies on the CPU, else itself."""
    return tensor.numpy() if tensor.device.type == "cpu" else tensor


def where(condition: Array, a: Array, b: Array) -> Array:
    """``np.where`` or ``torch.where``, whichever ``condition`` belongs to."""
    library: Any = np if isinstance(condition, np.ndarray) else torch
    return library.where(condition, a, b)


def indices(condition: Array) -> Array:
    """Where ``condition`` ``(m,)`` holds; on a GPU this waits for the device."""
    if isinstance(condition, np.ndarray):
        return np.flatnonzero(condition)
    return condition.nonzero()[:, 0]


def popcount(bits: Array) -> Array:
    """Number of ones in each int64 of ``bits``, the sign bit included."""
    if _BITWISE_COUNT is not None and isinstance(bits, np.ndarray):
        return _BITWISE_COUNT(bits.view(np.uint64))  # of an int64 it counts the magnitude
    return swar_popcount(bits)


def swar_popcount(bits: Array) -> Array:
    """The same by adding neighbouring bit fields, for torch and NumPy 1."""
    bits = bits - ((bits >> 1) & 0x5555555555555555)
    bits = (bits & 0x3333333333333333) + ((bits >> 2) & 0x3333333333333333)
    bits = (bits + (bits >> 4)) & 0x0F0F0F0F0F0F0F0F
    return (bits * 0x0101010101010101) >> 56

# SPDX-License-Identifier: MIT
"""Uniform numbers by counter: for whole batches at once, each sample's own whatever the batch.

``mix`` of ``randomness.py`` over arrays: number c of a sample depends on the sample's key and on c
alone, so batch size, order, number of workers and the decoder are without effect, and a resumed
run draws what an uninterrupted one does.
"""

from __future__ import annotations

import numpy as np
from numpy.typing import ArrayLike, NDArray

__all__ = ["keys", "uniforms"]

_STEP = np.uint64(0x9E3779B97F4A7C15)
_FIRST = np.uint64(0xBF58476D1CE4E5B9)
_SECOND = np.uint64(0x94D049BB133111EB)


def keys(seed: int, epoch: int, indexes: ArrayLike, view: int) -> NDArray[np.uint64]:
    """One key a sample, from what its augmentation may depend on.

    Args:
        seed: the run's.
        epoch: of the batch.
        indexes: (N,) numbers of the images within their source.
        view: number of the view.

    Returns:
        (N,) uint64.
    """
    index = np.asarray(indexes, dtype=np.int64).astype(np.uint64)
    state = np.full(index.shape, _STEP)
    for value in (_word(seed), _word(epoch), index, _word(view)):
        state = _absorb(state, value)
    return state


def uniforms(key: NDArray[np.uint64], count: int) -> NDArray[np.float64]:
    """``count`` numbers a sample, uniform on [0, 1).

    Args:
        key: (N,) from :func:`keys`.
        count: how many.

    Returns:
        (N, count) float64 with 53 random bits each.
    """
    column = np.arange(count, dtype=np.uint64)[None, :]
    words = _absorb(np.broadcast_to(key[:, None], (len(key), count)), column)
    return (words >> np.uint64(11)).astype(np.float64) * 2.0**-53


def _word(value: int) -> np.uint64:
    return np.uint64(value & 0xFFFFFFFFFFFFFFFF)


def _absorb(state: NDArray[np.uint64], value: NDArray[np.uint64] | np.uint64) -> NDArray[np.uint64]:
    with np.errstate(over="ignore"):  # arithmetic modulo 2^64 is the point
        state = state + value + _STEP
        state = (state ^ (state >> np.uint64(30))) * _FIRST
        state = (state ^ (state >> np.uint64(27))) * _SECOND
    return state ^ (state >> np.uint64(31))

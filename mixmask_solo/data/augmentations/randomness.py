# SPDX-License-Identifier: MIT
# ruff: noqa: NPY002  (it is about the global generators, which others draw from)
"""Random numbers by counter: from (seed, epoch, index, view) and from nothing else.

Batch size, order, number of workers and the decoder are therefore without effect, and a resumed
run draws what an uninterrupted one does. torch's and NumPy's generators are one stream each, so
every image would need one of its own (256 images: 0.8 and 2.6 ms, here 0.1 ms).
"""

from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import numpy as np
import torch
from numpy.typing import ArrayLike, NDArray

_WORD = (1 << 64) - 1
_GOLDEN, _FIRST, _SECOND = 0x9E3779B97F4A7C15, 0xBF58476D1CE4E5B9, 0x94D049BB133111EB


def mix(*values: int) -> int:
    """One number from 0 to 2^64 - 1 from several integers in this order, perhaps negative.

    SplitMix64's output function (Steele et al. 2014), chained over the values.
    """
    return int(_chain(*values))


def keys(seed: int, epoch: int, indexes: ArrayLike, view: int) -> NDArray[np.uint64]:
    """:func:`mix` of what a view may depend on: (N,) ``indexes`` within the source to (N,) keys."""
    return _chain(seed, epoch, np.asarray(indexes, dtype=np.int64).astype(np.uint64), view)


def uniforms(key: NDArray[np.uint64], count: int) -> NDArray[np.float64]:
    """(N, count) numbers, uniform on [0, 1): number c of a row depends on its key and c alone."""
    words = _absorb(key[:, None], np.arange(count, dtype=np.uint64))
    return (words >> np.uint64(11)).astype(np.float64) * 2.0**-53


def reseed(*key: int) -> None:
    """Starts the generator torchvision's transforms draw from; CPU only, CUDA's stay untouched."""
    torch.default_generator.manual_seed(mix(*key))


@contextmanager
def numpy_seeded(*key: int) -> Iterator[None]:
    """NumPy's global generator starts from ``key`` and gets its own state back afterwards."""
    state = np.random.get_state()
    np.random.seed(np.frombuffer(mix(*key).to_bytes(8, "little"), dtype="<u4"))
    try:
        yield
    finally:
        np.random.set_state(state)


def _chain(*values: int | NDArray[np.uint64]) -> Any:
    """A number, or an array as soon as one of the values is one."""
    state: Any = _GOLDEN
    for value in values:
        state = _absorb(state, value if isinstance(value, np.ndarray) else int(value) & _WORD)
    return state


def _absorb(state: Any, word: Any) -> Any:
    state = (state + word + _GOLDEN) & _WORD
    state = ((state ^ (state >> 30)) * _FIRST) & _WORD
    state = ((state ^ (state >> 27)) * _SECOND) & _WORD
    return state ^ (state >> 31)

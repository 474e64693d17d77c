# SPDX-License-Identifier: MIT
"""What every way of mixing returns."""

from __future__ import annotations

from typing import NamedTuple

from torch import Tensor

__all__ = ["Mixture"]


class Mixture(NamedTuple):
    """A batch of mixed images; row i shows image i and image ``partner[i]``.

    Args:
        images: ``(N, C, H, W)``, dtype and memory format of the images that went in.
        lam: ``(N,)`` share of row i that is image i's own, as achieved, not as requested;
            float32, or float64 for float64 images.
        partner: ``(N,)`` int64, whose pixels make up the rest.
    """

    images: Tensor
    lam: Tensor
    partner: Tensor

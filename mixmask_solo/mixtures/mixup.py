# SPDX-License-Identifier: MIT
"""Mixup: the global mixture of Un-Mix."""

from __future__ import annotations

import torch
from torch import Tensor

from mixmask_solo.mixtures.mixture import Mixture, check_batch, check_lam, lam_dtype

__all__ = ["mixup"]


def mixup(x: Tensor, lam: Tensor, partner: Tensor) -> Mixture:
    """Blends whole images: ``lam * x + (1 - lam) * x[partner]``.

    Args:
        x: ``(N, C, H, W)`` floating point.
        lam: own share within [0, 1], ``()`` or ``(1,)`` for the whole batch (as published) or
            ``(N,)``.
        partner: ``(N,)`` int64.

    Returns:
        The mixture; ``lam`` is the weight as applied, that is in the images' precision.

    Raises:
        ValueError: for wrong shapes, integer images or shares outside [0, 1].
    """
    check_batch(x, partner)
    check_lam(lam, len(x))
    if not x.is_floating_point():
        raise ValueError(f"x is {x.dtype}: Mixup blends values, convert the images to float first")
    weight = lam.to(x.dtype).expand(len(x))
    images = torch.lerp(x[partner], x, weight[:, None, None, None])
    return Mixture(images, weight.to(lam_dtype(x)), partner)

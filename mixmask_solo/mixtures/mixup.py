# SPDX-License-Identifier: MIT
"""Mixup: the global mixture of Un-Mix."""

from __future__ import annotations

import torch
from torch import Tensor

from mixmask_solo.mixtures.batch import check_batch, check_lam, lam_dtype, take
from mixmask_solo.mixtures.mixture import Mixture

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
    other, broad = take(x, partner), weight[:, None, None, None]
    if torch.is_grad_enabled() and (x.requires_grad or lam.requires_grad):
        images = torch.lerp(other, x, broad)
    else:
        images = other.lerp_(x, broad)  # saves a third tensor of this size
    return Mixture(images, weight.to(lam_dtype(x)), partner)

# SPDX-License-Identifier: MIT
"""Resampling a batch of boxes to squares: two weight matrices an image, as Pillow weighs.

Pillow's antialiased resize is separable and linear: each row of the result is a weighted sum of
rows of the box, the weights those of a kernel that is stretched where the image shrinks. So a
random resized crop with its flip is ``rows @ image @ columns.T``, two ``bmm`` a channel, which is
faster than gathering neighbourhoods up to some hundred pixels of edge.
"""

from __future__ import annotations

from typing import Literal

import torch
from torch import Tensor

__all__ = ["Kernel", "box_weights", "resample"]

Kernel = Literal["bicubic", "bilinear"]

_SUPPORT = {"bicubic": 2.0, "bilinear": 1.0}
_OUTSIDE = 1e6  # a place so far away that every kernel is 0 there


def box_weights(
    start: Tensor, length: Tensor, edge: int, size: int, kernel: Kernel, flip: Tensor | None = None
) -> Tensor:
    """One axis of a batch of boxes, each brought to ``size`` pixels.

    Args:
        start: (N,) first pixel of each box, float.
        length: (N,) pixels of each box, float, at least 1.
        edge: pixels of the stored image along this axis.
        size: pixels of the result.
        kernel: bicubic with a = -0.5 or bilinear.
        flip: (N,) 1 where the result is mirrored, else 0; None for nowhere.

    Returns:
        (N, size, edge) weights; each row adds up to 1 and is 0 outside of the box.
    """
    scale = (length / size)[:, None]
    stretch = scale.clamp(min=1.0)
    place = torch.arange(size, device=start.device, dtype=start.dtype)[None, :] + 0.5
    if flip is not None:
        place = place + flip[:, None] * (size - 2 * place)
    center = place * scale / stretch
    pixel = torch.arange(edge, device=start.device, dtype=start.dtype)[None, :] - start[:, None]
    outside = ((pixel < 0) | (pixel >= length[:, None])).to(start.dtype)
    pixel = (pixel + 0.5) / stretch + _OUTSIDE * outside
    distance = (pixel[:, None, :] - center[:, :, None]).abs_()
    weights = _bicubic(distance) if kernel == "bicubic" else _ramp(distance, 1.0)
    return weights.div_(weights.sum(dim=2, keepdim=True))


def resample(planes: Tensor, rows: Tensor, columns: Tensor) -> Tensor:
    """Boxes of a batch as squares.

    Args:
        planes: (3, N, H, W) float in [0, 1].
        rows: (N, S, H) weights, or (1, S, H) for all images alike.
        columns: (N, S, W) or (1, S, W).

    Returns:
        (3, N, S, S) in [0, 1]. Columns come first and what a pass overshoots is cut at once, as
        Pillow's passes of 8 bits do it.
    """
    count, size = planes.shape[1], rows.shape[1]
    rows, columns = rows.expand(count, -1, -1), columns.expand(count, -1, -1)
    result = planes.new_empty((3, count, size, size))
    for channel in range(3):
        wide = torch.bmm(planes[channel], columns.transpose(1, 2)).clamp_(0.0, 1.0)
        torch.bmm(rows, wide, out=result[channel])
    return result.clamp_(0.0, 1.0)


def _bicubic(distance: Tensor) -> Tensor:
    """Keys' kernel (a = -0.5) of ``distance`` >= 0, without a case distinction.

    With u = max(0, 2 - d) and v = max(0, 1 - d) it is u² (u - 1) / 2 + v² (1 - 2v).
    """
    u, v = _ramp(distance, 2.0), _ramp(distance, 1.0)
    inner = v.square().mul_(v.mul_(-2.0).add_(1.0))
    return u.square().mul_(u.sub_(1.0)).mul_(0.5).add_(inner)


def _ramp(distance: Tensor, support: float) -> Tensor:
    return torch.rsub(distance, support).clamp_(min=0.0)

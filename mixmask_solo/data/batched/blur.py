# SPDX-License-Identifier: MIT
"""Pillow's Gaussian blur as one matrix an image.

Pillow blurs with three box filters whose width is chosen so that they have the Gaussian's variance,
the border repeated. Each is linear, so all three are one S x S matrix, the same for rows and
columns, and the blur of an image is ``matrix @ image @ matrix.T``.
"""

import torch
from torch import Tensor

_PASSES = 3


def blur_matrix(sigma: Tensor, size: int) -> Tensor:
    """The three box filters along one axis, (n, size, size), of (n,) deviations in pixels."""
    radius = _radius(sigma)[:, None]
    place = torch.arange(size, device=sigma.device, dtype=sigma.dtype)
    apart = (place[:, None] - place[None, :]).abs_()
    box = (radius[:, :, None] + 1.0 - apart).clamp_(0.0, 1.0)
    # what a filter that reaches over the border finds there is the border's pixel again
    box[:, :, 0] += (radius - place).clamp_(min=0.0)
    box[:, :, -1] += (radius - (size - 1 - place)).clamp_(min=0.0)
    box /= (2.0 * radius + 1.0)[:, :, None]
    return torch.bmm(torch.bmm(box, box), box)


def blur(planes: Tensor, sigma: Tensor) -> Tensor:
    """Images (3, n, S, S), each blurred with its own deviation of (n,), in pixels; new memory."""
    matrix = blur_matrix(sigma, planes.shape[-1])
    result = torch.empty_like(planes)
    for channel in range(3):
        columns = torch.bmm(planes[channel], matrix.transpose(1, 2))
        torch.bmm(matrix, columns, out=result[channel])
    return result


def _radius(sigma: Tensor) -> Tensor:
    """Of the box filter whose repetition has variance sigma²; not a whole number."""
    variance = sigma.square() / _PASSES
    whole = ((torch.sqrt(12.0 * variance + 1.0) - 1.0) * 0.5).floor_()
    part = (2.0 * whole + 1.0) * (whole * (whole + 1.0) - 3.0 * variance)
    return whole + part / (6.0 * (variance - (whole + 1.0).square()))

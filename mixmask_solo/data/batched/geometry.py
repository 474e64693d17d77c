# SPDX-License-Identifier: MIT
"""Resampling and blur of a batch, two matrices an image, and rotation.

Pillow's antialiased resize is separable and linear, its weights those of a kernel that is stretched
where the image shrinks. So a random resized crop with its flip is ``rows @ image @ columns.T``, two
``bmm`` a channel, faster than gathering neighbourhoods up to some hundred pixels of edge.

Un-augmented images get the very pixels of Pillow's resize. ``F.interpolate`` of 8 bits does not:
it is the CPU's alone, and up to 2 grey levels off where noise is enlarged.

Pillow blurs with three box filters whose width is chosen so that they have the Gaussian's variance,
the border repeated: one matrix for rows and columns, ``matrix @ image @ matrix.T``.
"""

from typing import Literal

import torch
import torch.nn.functional as F
from torch import Tensor

from mixmask_solo.data.batched.plan import to_device

Kernel = Literal["bicubic", "bilinear"]

_OUTSIDE = 1e6  # a place so far away that every kernel is 0 there
_BOXES = 3  # that make a blur
_FIXED = 2.0**22  # Pillow's weights are whole numbers of its inverse


def box_weights(
    start: Tensor,
    length: Tensor,
    edge: int,
    size: int,
    kernel: Kernel,
    flip: Tensor | None = None,
    part: slice = slice(None),
) -> Tensor:
    """One axis of a batch of boxes, each brought from an image's ``edge`` to ``size`` pixels.

    Args:
        start, length: (N,) first pixel and number of pixels, at least 1, of each box, float.
        flip: (N,) 1 where the result is mirrored, else 0; None for nowhere.
        part: of the result; all of it may be gigabytes where a stripe is enlarged.

    Returns:
        (N, size, edge), or the rows of the part, which add up to 1.
    """
    scale = (length / size)[:, None]
    stretch = scale.clamp(min=1.0)
    place = torch.arange(size, device=start.device, dtype=start.dtype)[None, part] + 0.5
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
    """Boxes of a batch (3, N, H, W) in [0, 1] as squares (3, N, S, S).

    Weights are (N, S, H) and (N, S, W), or 1 in place of N for all images alike. Order and cut of
    the passes are Pillow's.
    """
    count, size = planes.shape[1], rows.shape[1]
    rows, columns = rows.expand(count, -1, -1), columns.expand(count, -1, -1)
    result = planes.new_empty((3, count, size, size))
    for channel in range(3):
        wide = torch.bmm(planes[channel], columns.transpose(1, 2)).clamp_(0.0, 1.0)
        torch.bmm(rows, wide, out=result[channel])
    return result.clamp_(0.0, 1.0)


def whole_weights(
    height: int, width: int, size: int, kernel: Kernel, shorter: int | None
) -> tuple[Tensor, Tensor]:
    """(size, height) and (size, width) float64: whole images as squares, as torchvision rounds.

    The shorter side is brought to a length before the centre is cut out; None: both to ``size``.
    """
    axes = []
    for edge in (height, width):
        scaled = size if shorter is None else int(shorter * edge / min(height, width))
        first = round((scaled - size) / 2.0)
        start, length = torch.tensor([[0.0], [edge]], dtype=torch.float64)
        part = slice(first, first + size)
        axes.append(box_weights(start, length, edge, scaled, kernel, part=part)[0])
    return axes[0], axes[1]


def resize(pixels: Tensor, rows: Tensor, columns: Tensor) -> Tensor:
    """Images (3, N, H, W) uint8 as (3, N, S, S) uint8, by (S, H) and (S, W) float64 weights.

    Pillow works in fixed point: weights are rounded to 22 bits, halves away from zero, and sums of
    products to 8 bits after each of the two passes. All these are integers below 2^53, so matrix
    products in float64 repeat them exactly, in any order of summation.
    """
    fixed = [(axis * _FIXED + 0.5 * axis.sign()).trunc() for axis in (rows, columns)]
    down, across = (to_device(axis.numpy(), pixels.device) for axis in fixed)
    wide = _eight_bits(pixels.to(torch.float64) @ across.T)
    return _eight_bits(down @ wide).to(torch.uint8)


def rotate(planes: Tensor, degrees: Tensor) -> Tensor:
    """Images (3, n, S, S), each turned counter-clockwise about its centre, bilinear; new memory.

    As in Pillow, a pixel whose centre comes from outside is black, and none is mixed with black.
    """
    size = planes.shape[-1]
    angle = torch.deg2rad(degrees)
    cos, sin = torch.cos(angle), torch.sin(angle)
    zero = torch.zeros_like(cos)
    # from a place of the result to its place in the image, y pointing down
    turn = torch.stack([torch.stack([cos, -sin, zero], 1), torch.stack([sin, cos, zero], 1)], 1)
    grid = F.affine_grid(turn, [len(degrees), 3, size, size], align_corners=False)
    inside = (grid.abs() <= 1.0).all(dim=3)
    turned = F.grid_sample(
        planes.transpose(0, 1), grid, mode="bilinear", padding_mode="border", align_corners=False
    )
    return turned.transpose(0, 1).mul(inside)


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


def _eight_bits(sums: Tensor) -> Tensor:
    return sums.add_(0.5 * _FIXED).mul_(1.0 / _FIXED).floor_().clamp_(0.0, 255.0)


def _bicubic(distance: Tensor) -> Tensor:
    """Keys' kernel (a = -0.5) of ``distance`` >= 0, without a case distinction.

    With u = max(0, 2 - d) and v = max(0, 1 - d) it is u² (u - 1) / 2 + v² (1 - 2v).
    """
    u, v = _ramp(distance, 2.0), _ramp(distance, 1.0)
    inner = v.square().mul_(v.mul_(-2.0).add_(1.0))
    return u.square().mul_(u.sub_(1.0)).mul_(0.5).add_(inner)


def _ramp(distance: Tensor, support: float) -> Tensor:
    return torch.rsub(distance, support).clamp_(min=0.0)


def _radius(sigma: Tensor) -> Tensor:
    """Of the box filter whose repetition has variance sigma²; not a whole number."""
    variance = sigma.square() / _BOXES
    whole = ((torch.sqrt(12.0 * variance + 1.0) - 1.0) * 0.5).floor_()
    part = (2.0 * whole + 1.0) * (whole * (whole + 1.0) - 3.0 * variance)
    return whole + part / (6.0 * (variance - (whole + 1.0).square()))

# SPDX-License-Identifier: MIT
"""Colours of a batch: jitter with factors and an order of each image's own, and Pillow's tones.

Brightness, contrast and saturation are one formula, ``clip(f x + (1 - f) m)`` with m black, the
mean grey of the image, or the grey of the pixel. So the k-th operation of all images is one pass
with coefficients per image, whichever operation it is. Hue alone is different; the caller sorts
images by its place in their order, which makes those due in round k one slice. All images here are
(3, n, S, S) float in [0, 1].
"""

from collections.abc import Sequence

import torch
from torch import Tensor

LUMA = (0.299, 0.587, 0.114)  # Pillow's; torchvision's tensor functions round the first to 0.2989
_TINY = 1e-12
_LEVELS = 256
_CENTER = (3.0, 2.0, 4.0)  # of red, green and blue


def jitter(
    planes: Tensor,
    blends: Sequence[tuple[Tensor, Tensor, Tensor] | None],
    hues: Sequence[slice],
    turns: Tensor,
) -> None:
    """All rounds of the jitter, in place.

    Per round, ``blends`` are the coefficients of :func:`blend`, None where all are neutral, as they
    are for images whose turn it is to change hue; ``hues`` are those images, possibly none, and
    ``turns`` (n,) their shift.
    """
    for coefficients, due in zip(blends, hues, strict=True):
        if coefficients is not None:
            blend(planes, *coefficients)
        if due.stop > due.start:
            shift_hue(planes[:, due], turns[due])


def blend(planes: Tensor, factor: Tensor, mean: Tensor, pixel: Tensor) -> None:
    """``clip(factor x + mean * mean grey + pixel * grey)``, in place.

    Coefficients are (n,): brightness is (f, 0, 0), contrast (f, 1 - f, 0), saturation
    (f, 0, 1 - f), nothing (1, 0, 0).
    """
    other = grey(planes)
    average = other.mean(dim=(1, 2)).mul_(mean)
    other.mul_(pixel[:, None, None]).add_(average[:, None, None])
    planes.mul_(factor[:, None, None]).add_(other).clamp_(0.0, 1.0)


def grey(planes: Tensor) -> Tensor:
    """(n, S, S) luminance of (3, n, S, S)."""
    red, green, blue = planes.unbind(0)
    return torch.mul(red, LUMA[0]).add_(green, alpha=LUMA[1]).add_(blue, alpha=LUMA[2])


def shift_hue(planes: Tensor, turns: Tensor) -> None:
    """Turns the hue of HSV by (n,) turns, -1/2 to 1/2, in place; value and saturation stay."""
    red, green, blue = planes.unbind(0)
    top = torch.maximum(red, green)
    low = torch.minimum(red, green)
    top = torch.maximum(top, blue, out=top)
    low = torch.minimum(low, blue, out=low)
    chroma = top - low
    hue = _hue(red, green, blue, top, chroma)
    hue.add_(6.0 * turns[:, None, None])
    hue.sub_(torch.mul(hue, 1.0 / 6.0).floor_(), alpha=6.0)
    # each channel is a trapezoid over the hue's circle of length 6: low + chroma times
    # clip(sign * |hue - center| + offset), which for red is high around 0, low around 3
    for channel, center in zip(planes, _CENTER, strict=True):
        torch.sub(hue, center, out=channel)
    planes.abs_()
    planes[0].sub_(1.0)
    planes[1:].sub_(2.0).neg_()
    planes.clamp_(0.0, 1.0).mul_(chroma).add_(low)


def solarize(planes: Tensor) -> Tensor:
    """Inverts what would be rounded to Pillow's limit, 128 of 255, or more; new memory."""
    return torch.where(planes < 0.5, planes, 1.0 - planes)


def equalize(planes: Tensor) -> Tensor:
    """Flattens the histogram of each channel of each image, rounded to 8 bits; new memory."""
    levels = (planes * 255.0).round_().clamp_(0, 255).flatten(2).flatten(0, 1).to(torch.int64)
    histogram = torch.zeros(len(levels), _LEVELS, dtype=torch.int64, device=planes.device)
    histogram.scatter_add_(1, levels, torch.ones_like(levels))
    below = histogram.cumsum(1) - histogram
    last = torch.arange(_LEVELS, device=planes.device).mul(histogram > 0).amax(1, keepdim=True)
    step = below.gather(1, last) // (_LEVELS - 1)  # pixels that are not of the brightest level
    table = ((below + step // 2) // step.clamp(min=1)).clamp_(max=_LEVELS - 1)
    identity = torch.arange(_LEVELS, device=planes.device).expand_as(table)
    table = torch.where(step > 0, table, identity)
    return table.gather(1, levels).to(planes.dtype).div_(255.0).view_as(planes)


def _hue(red: Tensor, green: Tensor, blue: Tensor, top: Tensor, chroma: Tensor) -> Tensor:
    """Hue in sixths of a turn, -1 to 5; 0 for grey.

    Chosen by ``lerp`` with 0 or 1: exact, and on the CPU several times faster than ``where``.
    """
    chosen = torch.empty_like(top)
    hue = (red - green).add_(chroma, alpha=4.0)
    other = (blue - red).add_(chroma, alpha=2.0)
    hue.lerp_(other, torch.eq(top, green, out=chosen))
    torch.sub(green, blue, out=other)
    hue.lerp_(other, torch.eq(top, red, out=chosen))
    return hue.div_(torch.clamp(chroma, min=_TINY, out=chosen))

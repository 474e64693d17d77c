# SPDX-License-Identifier: MIT
"""Hides cells of images behind something else."""

from typing import Literal, get_args

import torch
from torch import Tensor

from mixmask_solo.fills.gaussian import blur
from mixmask_solo.masks import upsample

Kind = Literal["zero", "noise", "mean", "blur", "partner"]
KINDS: tuple[str, ...] = get_args(Kind)


def fill(
    x: Tensor,
    mask: Tensor,
    kind: Kind,
    *,
    std: float = 1.0,
    sigma: float = 10.0,
    kernel: int = 31,
    partner: Tensor | None = None,
    generator: torch.Generator | None = None,
) -> Tensor:
    """Keeps images where the mask is 1 and fills them elsewhere.

    - ``zero``: the mean colour of normalised images;
    - ``noise``: Gaussian noise around 0, drawn for every pixel and channel;
    - ``mean``: the image's own mean, per channel;
    - ``blur``: the image itself, blurred (see :func:`blur`);
    - ``partner``: another image of the batch, as MixMask fills.

    A bool mask copies kept pixels bit for bit; a soft one blends, ``m·x + (1 - m)·filling``, and
    passes gradients to the mask.

    Args:
        x: ``(N, C, H, W)`` floating point.
        mask: bool, or floating point within [0, 1]; 1 = own pixel stays. Cells ``(n, g, g)``,
            ``(n, 1, g, g)`` or per channel ``(n, C, g, g)``, or as many pixels; n is N or 1.
        kind: see above.
        std: deviation of ``noise``.
        sigma: deviation of ``blur`` in pixels.
        kernel: width of ``blur`` in pixels, odd.
        partner: ``(N,)`` int64, for ``partner``.
        generator: source of ``noise`` on the images' device; torch's default where None.

    Returns:
        ``(N, C, H, W)``, dtype and memory format of x.

    Raises:
        ValueError: for wrong shapes, integer images, another kind, or no partner where one is due.
    """
    n, channels, height, width = _checked(x).shape
    mask = mask[:, None] if mask.ndim == 3 else mask
    if mask.ndim != 4 or mask.shape[0] not in (1, n) or mask.shape[1] not in (1, channels):
        raise ValueError(
            f"mask has shape {tuple(mask.shape)}: need cells (n, g, g) or (n, c, g, g) with n = "
            f"{n}, or 1 for one mask for all, and c = {channels}, or 1 for all channels"
        )
    filling = _filling(x, kind, std, sigma, kernel, partner, generator)
    own = upsample(mask, (height, width))
    if own.dtype != torch.bool:
        return torch.lerp(x, filling.expand_as(x), (1 - own.to(x.dtype)).expand_as(x))
    if own.shape[1] > 1 and x.is_contiguous(memory_format=torch.channels_last):
        own = own.contiguous(memory_format=torch.channels_last)  # the result takes the mask's
    return torch.where(own, x, filling)


def _filling(
    x: Tensor,
    kind: str,
    std: float,
    sigma: float,
    kernel: int,
    partner: Tensor | None,
    generator: torch.Generator | None,
) -> Tensor:
    """What ``x`` is filled with, of its shape or one that spreads to it."""
    if kind == "zero":
        return x.new_zeros(())
    if kind == "noise":
        draw = torch.randn(x.shape, generator=generator, device=x.device, dtype=x.dtype)
        return std * draw
    if kind == "mean":
        return x.mean((2, 3), keepdim=True)
    if kind == "blur":
        return blur(x, sigma, kernel)
    if kind != "partner":
        raise ValueError(f"fill is {kind!r}: choose {', '.join(KINDS)}")
    if partner is None:
        raise ValueError("fill is 'partner': give the partner of each image")
    return x[partner]


def _checked(x: Tensor) -> Tensor:
    if x.ndim != 4 or not x.is_floating_point():
        raise ValueError(
            f"x is {x.dtype} of shape {tuple(x.shape)}: need float images (N, C, H, W)"
        )
    return x

# SPDX-License-Identifier: MIT
"""ADIOS' occlusion model: a U-Net that splits an image's pixels among soft masks."""

from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor, nn

_GROUPS = 8  # of GroupNorm
_HIDDEN = 128  # units of the bottleneck


def default_depth(size: int) -> int:
    """Published number of blocks for images of ``size`` pixels, floor(log2(size) - 1)."""
    return size.bit_length() - 2


class Occluder(nn.Module):
    """``(N, C, size, size)`` -> ``(N, slots, size, size)`` masks that sum to 1 at each pixel.

    Blocks of a 3x3 convolution, norm and ReLU, nearest down- and upsampling between them, an MLP
    over the smallest map, skip connections; a 1x1 convolution and a softmax over the slots (ADIOS'
    code). Maps of odd size are halved to the lower number, and upsampling goes
    to the size of the skip: any size works, not powers of two alone.

    Args:
        size: edge of the images in pixels, at least ``2**depth``.
        slots: number of masks.
        width: channels of the first blocks; the last three have twice as many.
        norm: ``group`` (8 groups, which have to divide ``width``), ``instance`` or ``none``.
        depth: number of blocks on either side; None for the published :func:`default_depth`.
        channels: of the images.
    """

    def __init__(
        self,
        size: int,
        slots: int,
        *,
        width: int = 32,
        norm: str = "group",
        depth: int | None = None,
        channels: int = 3,
    ) -> None:
        super().__init__()
        depth = depth or default_depth(size)
        wide = 2 * width
        down = [width if i < max(1, depth - 3) else wide for i in range(depth)]
        up = [wide if i < min(2, depth - 1) else width for i in range(depth)]
        self.down = nn.ModuleList(
            _block(i, o, norm) for i, o in zip([channels, *down], down, strict=False)
        )
        # each takes what comes from below and the skip of the same size
        below = [down[-1], *up]
        self.up = nn.ModuleList(
            _block(i + skip, o, norm) for i, skip, o in zip(below, reversed(down), up, strict=False)
        )
        edge = size >> (depth - 1)
        pixels = down[-1] * edge**2
        self.bottleneck = nn.Sequential(
            nn.Flatten(),
            *(nn.Linear(pixels, _HIDDEN), nn.ReLU()),
            *(nn.Linear(_HIDDEN, _HIDDEN), nn.ReLU()),
            *(nn.Linear(_HIDDEN, pixels), nn.ReLU()),
            nn.Unflatten(1, (down[-1], edge, edge)),
        )
        self.slots = nn.Conv2d(width, slots, 1)

    def forward(self, x: Tensor) -> Tensor:
        """See the class; float32 masks under autocast, too."""
        skips: list[Tensor] = []
        for block in self.down:
            x = block(_resized(x, [n // 2 for n in x.shape[2:]]) if skips else x)
            skips.append(x)
        x = self.bottleneck(x)
        for block, skip in zip(self.up, reversed(skips), strict=True):
            x = block(torch.cat([_resized(x, skip.shape[2:]), skip], dim=1))
        logits: Tensor = self.slots(x)
        return torch.softmax(logits, dim=1, dtype=torch.promote_types(logits.dtype, torch.float32))


def _resized(x: Tensor, size: Any) -> Tensor:
    return F.interpolate(x, tuple(size), mode="nearest")


def _block(inputs: int, outputs: int, norm: str) -> nn.Sequential:
    conv = nn.Conv2d(inputs, outputs, 3, padding=1, bias=norm == "none")
    if norm == "none":
        return nn.Sequential(conv, nn.ReLU())
    instance = norm == "instance"
    made = nn.InstanceNorm2d(outputs, affine=True) if instance else nn.GroupNorm(_GROUPS, outputs)
    return nn.Sequential(conv, made, nn.ReLU())

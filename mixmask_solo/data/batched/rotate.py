# SPDX-License-Identifier: MIT
"""Rotation of a batch about its centre, bilinear, black outside, as Pillow does it."""

from __future__ import annotations

import torch
import torch.nn.functional as F
from torch import Tensor

__all__ = ["rotate"]


def rotate(planes: Tensor, degrees: Tensor) -> Tensor:
    """Each image turned by its own angle.

    Args:
        planes: (3, n, S, S) float.
        degrees: (n,) counter-clockwise.

    Returns:
        (3, n, S, S), new memory. A pixel whose centre comes from outside is black; one within half
        a pixel of the border is not mixed with black (so no ``padding_mode="zeros"``).
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

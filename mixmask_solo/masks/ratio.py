# SPDX-License-Identifier: MIT
"""The share that is asked for: one number for all masks, or one per mask."""

from __future__ import annotations

import math

import torch
from torch import Tensor

__all__ = ["check_ratio", "resolve_device"]


def resolve_device(
    device: torch.device | str | None, generator: torch.Generator | None
) -> torch.device:
    """``device``, else the generator's, else the CPU.

    Raises:
        ValueError: where both are given and differ, since torch cannot draw across devices.
    """
    if device is None:
        return generator.device if generator is not None else torch.device("cpu")
    wanted = torch.device(device)
    if generator is not None and generator.device.type != wanted.type:
        raise ValueError(
            f"generator lives on {generator.device}, but device is {wanted}: "
            "create the generator on the device of the masks"
        )
    return wanted


def check_ratio(n: int, grid: int, ratio: float | Tensor) -> None:
    """Checks what both kinds of masks have in common.

    Raises:
        ValueError: for fewer than one mask, a grid below 2, a ratio outside [0, 1], a tensor of
            another shape than ``(n,)``, or a number that keeps none or all of the cells.
    """
    if n < 1 or grid < 2:
        raise ValueError(
            f"n is {n} and grid is {grid}: need n >= 1 masks of grid >= 2 cells a side"
        )
    if isinstance(ratio, Tensor):
        if ratio.shape != (n,) or not ratio.is_floating_point():
            raise ValueError(
                f"ratio is a {ratio.dtype} tensor of shape {tuple(ratio.shape)}: "
                f"give a number or a floating-point tensor of shape ({n},)"
            )
        # Elsewhere the check would wait for the device.
        if ratio.device.type == "cpu" and not bool(((ratio >= 0) & (ratio <= 1)).all()):
            raise ValueError("ratio has values outside [0, 1]: give each mask's own share")
        return
    cells = grid * grid
    if not 0 <= ratio <= 1:
        raise ValueError(f"ratio is {ratio}: the own share must lie within (0, 1)")
    kept = math.floor(ratio * cells)
    if not 1 <= kept < cells:
        raise ValueError(
            f"ratio is {ratio}: of {cells} cells this keeps {kept}, so nothing would be mixed; "
            f"choose from {1 / cells:.4g} up to, but below, 1"
        )

# SPDX-License-Identifier: MIT
"""What masks on a grid have in common: how they are asked for, drawn ahead, brought to pixels."""

import math
from collections.abc import Callable
from dataclasses import dataclass, field

import torch
from torch import Tensor


def resolve_device(
    device: torch.device | str | None, generator: torch.Generator | None
) -> torch.device:
    """``device``, else the generator's, else the CPU; ValueError where both differ."""
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
    """Raises ValueError for what ``blocked`` and ``discrete`` do not take."""
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
            f"choose from {math.ceil(1e5 / cells) / 1e5:g} up to, but below, 1"
        )


def upsample(mask: Tensor, size: tuple[int, int], patch_size: int | None = None) -> Tensor:
    """Nearest upsampling of grid masks: pixel (r, c) lies in cell (floor(r·g/H), floor(c·g/W)).

    In integers: ``F.interpolate`` takes no bool, and rounds where g does not divide the size.

    Args:
        mask: ``(n, g, g)`` or ``(n, c, g, g)`` of any dtype; rows and columns may differ in number.
        size: height and width of the image.
        patch_size: side of a cell in pixels, counted from the upper left corner, so that the last
            ones may be cut; None spreads the cells over the image.

    Returns:
        ``(n, 1, H, W)`` or ``(n, c, H, W)`` of the same dtype.

    Raises:
        ValueError: for another number of axes, or of cells where ``patch_size`` tells it.
    """
    if mask.ndim not in (3, 4):
        raise ValueError(
            f"mask has shape {tuple(mask.shape)}: need (n, rows, columns) or "
            "(n, channels, rows, columns) of cells"
        )
    mask = mask[:, None] if mask.ndim == 3 else mask
    if mask.shape[2:] == size:
        return mask
    if patch_size is not None and mask.shape[2:] != patches(size, patch_size):
        raise ValueError(
            f"mask has shape {tuple(mask.shape)}: {size[0]}x{size[1]} pixels in patches of "
            f"{patch_size} are {patches(size, patch_size)} cells"
        )
    rows, columns = (
        torch.arange(pixels, device=mask.device) // patch_size
        if patch_size is not None
        else torch.arange(pixels, device=mask.device) * cells // pixels
        for cells, pixels in zip(mask.shape[2:], size, strict=True)
    )
    return mask[:, :, rows[:, None], columns]


def patches(size: tuple[int, int], patch_size: int) -> tuple[int, int]:
    """Rows and columns of cells that cover an image, given a cell's side in pixels."""
    return -(-size[0] // patch_size), -(-size[1] // patch_size)


@dataclass(eq=False)
class MaskPool:
    """Hands out a batch's masks by (epoch, batch index), drawing a block of batches at a time.

    Which masks a batch gets depends on its address alone, not on what was asked before: a resumed
    run that starts in the middle of an epoch repeats the masks of an uninterrupted one.

    Args:
        draw: ``draw(n, generator) -> (n, ...)``, for instance ``blocked`` with its grid bound.
        per_batch: masks in a batch.
        batches: batches drawn at once.
        generator_for: ``generator_for(epoch, block)`` gives a fresh generator seeded by exactly
            these two (and whatever else tells runs apart); block = batch index // ``batches``.
    """

    draw: Callable[[int, torch.Generator], Tensor]
    per_batch: int
    batches: int
    generator_for: Callable[[int, int], torch.Generator]
    _address: tuple[int, int] | None = field(default=None, init=False)
    _masks: Tensor = field(init=False, repr=False)

    def take(self, epoch: int, batch_index: int) -> Tensor:
        """Masks of one batch, ``(per_batch, ...)``: a view of the pool, not to be written to."""
        block, offset = divmod(batch_index, self.batches)
        if self._address != (epoch, block):
            generator = self.generator_for(epoch, block)
            self._masks = self.draw(self.per_batch * self.batches, generator)
            self._address = (epoch, block)
        return self._masks.narrow(0, offset * self.per_batch, self.per_batch)

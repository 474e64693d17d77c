# SPDX-License-Identifier: MIT
"""Masks of a given number of cells, and masks of one square window."""

import torch
from torch import Tensor

from mixmask_solo.masks.grid import resolve_device


def chosen(
    among: Tensor, count: Tensor | int, *, generator: torch.Generator | None = None
) -> Tensor:
    """Draws ``count`` of the cells that are True, each set of them as likely as any other.

    Args:
        among: ``(..., g, g)`` bool, cells to choose from; rows and columns may differ in number.
        count: how many for each mask, a number or integers that broadcast to ``(...)``. Where it is
            more than there are, all are chosen; where it is negative, none.
        generator: source of randomness on the masks' device; torch's default where None.

    Returns:
        ``(..., g, g)`` bool, True = chosen.
    """
    cells = among.flatten(-2)
    draw = torch.rand(cells.shape, generator=generator, device=cells.device)
    rank = torch.where(cells, draw, 2.0).argsort(-1).argsort(-1)
    wanted = count[..., None] if isinstance(count, Tensor) else count
    return (cells & (rank < wanted)).view(among.shape)


def window(
    n: int,
    size: tuple[int, int],
    side: int,
    *,
    generator: torch.Generator | None = None,
    device: torch.device | str | None = None,
) -> Tensor:
    """Draws n square windows, each place that lies wholly within the image as likely as any other.

    Itself a focal mask, which keeps what the window shows; its opposite hides that.

    Args:
        size: height and width of the image in pixels.
        side: of the window, in pixels.
        generator: source of randomness on the masks' device; torch's default where None.
        device: of the result; the generator's where None, else the CPU.

    Returns:
        ``(n, 1, height, width)`` bool, True = within the window.

    Raises:
        ValueError: for a window that is larger than the image.
    """
    if not 1 <= side <= min(size):
        raise ValueError(
            f"side is {side}: need 1 to {min(size)} pixels, within {size[0]}x{size[1]}"
        )
    where_to = resolve_device(device, generator)
    rows, columns = (_interval(n, pixels, side, where_to, generator) for pixels in size)
    return (rows[:, :, None] & columns[:, None, :])[:, None]


def _interval(
    n: int, pixels: int, side: int, device: torch.device, generator: torch.Generator | None
) -> Tensor:
    """``(n, pixels)`` bool, ``side`` of them True in a row."""
    start = torch.randint(pixels - side + 1, (n, 1), generator=generator, device=device)
    line = torch.arange(pixels, device=device)
    return (line >= start) & (line < start + side)

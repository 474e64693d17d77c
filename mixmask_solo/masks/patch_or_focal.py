# SPDX-License-Identifier: MIT
"""Masks of one kind or another for each image: patches of a grid, or all but one window."""

from collections.abc import Sequence

import torch
from torch import Tensor

from mixmask_solo.masks.chosen import chosen, window
from mixmask_solo.masks.grid import patches, upsample


def patch_or_focal(
    n: int,
    channels: int,
    height: int,
    width: int,
    *,
    patch_size: int,
    ratio: Sequence[float],
    focal: float,
    focal_size: int,
    channel_wise: float,
    generator: torch.Generator,
) -> Tensor:
    """Draws n masks as MSCN has them, on the generator's device.

    Everything is drawn whatever is switched on, so that the masks of two runs which differ in a
    probability differ only where it says so.

    Args:
        patch_size: side of a cell in pixels.
        ratio: lowest and highest share of cells hidden, drawn evenly between them. A number of
            cells that is not whole is rounded up or down by chance, which keeps its mean.
        focal: probability of a mask that keeps a window of ``focal_size`` pixels a side.
        channel_wise: probability that a mask of patches hides others in each channel, as many.

    Returns:
        ``(n, channels, height, width)`` bool, True = the pixel stays.
    """
    coins = torch.rand(4, n, 1, 1, 1, generator=generator, device=generator.device)
    is_focal, differs = coins[0] < focal, coins[1] < channel_wise
    rows, columns = patches((height, width), patch_size)
    share = ratio[0] + (ratio[1] - ratio[0]) * coins[2].flatten()
    count = (share * (rows * columns) + coins[3].flatten()).floor().long()
    cells = torch.ones(n, channels, rows, columns, dtype=torch.bool, device=generator.device)
    hidden = chosen(cells, count[:, None], generator=generator)
    hidden = torch.where(differs, hidden, hidden[:, :1])
    shown = window(n, (height, width), focal_size, generator=generator)
    return torch.where(is_focal, shown, ~upsample(hidden, (height, width), patch_size))

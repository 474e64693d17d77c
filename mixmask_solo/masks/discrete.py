# SPDX-License-Identifier: MIT
"""Discrete keep-masks: every cell for itself."""

import torch
from torch import Tensor
from torch.distributions import Binomial

from mixmask_solo.masks.grid import check_ratio, resolve_device


def discrete(
    n: int,
    grid: int,
    ratio: float | Tensor = 0.5,
    *,
    generator: torch.Generator | None = None,
    device: torch.device | str | None = None,
) -> Tensor:
    """Draws n masks of independent cells, each kept with probability ``ratio``.

    Masks that keep no or all cells are drawn again, as in the published code; on tiny grids this
    moves the mean share towards 0.5 (grid 2, ratio 0.25: 0.362). The published code draws 1 with
    probability 1 - ``ratio`` instead, opposite to its blocked masks; here ``ratio`` is the own
    share in both. Arguments, result and errors are those of :func:`blocked`.
    """
    check_ratio(n, grid, ratio)
    where_to = resolve_device(device, generator)
    cells = grid * grid
    share = torch.ones(n, dtype=torch.float64, device=where_to)
    share *= ratio.to(where_to) if isinstance(ratio, Tensor) else ratio
    mask = torch.rand(n, cells, generator=generator, device=where_to) < share[:, None]
    again = mask.all(1) | ~mask.any(1)
    if where_to.type == "cuda":  # for all of them, rather than wait to see for which
        mask = torch.where(again[:, None], _mixed(share, cells, generator), mask)
    elif len(rows := again.nonzero().squeeze(1)) > 0:
        mask[rows] = _mixed(share[rows], cells, generator)
    return mask.view(n, grid, grid)


def _mixed(share: Tensor, cells: int, generator: torch.Generator | None) -> Tensor:
    """``(n, cells)`` independent cells, given that some are kept and some are not.

    What drawing again and again ends in, in one draw, since near 0 and 1 nearly all draws fail:
    first how many cells are kept, then which.
    """
    counts = torch.arange(1, cells, dtype=torch.float64, device=share.device)
    p = share.clamp(1e-12, 1 - 1e-12)[:, None]
    chance = Binomial(cells, p, validate_args=False).log_prob(counts).softmax(1)
    kept = 1 + torch.multinomial(chance, 1, generator=generator)
    order = torch.rand(len(share), cells, generator=generator, device=share.device).argsort(1)
    return order.argsort(1) < kept

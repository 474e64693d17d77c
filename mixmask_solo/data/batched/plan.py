# SPDX-License-Identifier: MIT
"""From the draws of a batch to what the operations take: sorted, grouped, on the device.

Everything that depends on single images is decided here, with numpy on the CPU, so that the device
neither waits nor is waited for: sizes of groups are known before the pixels are, and all numbers go
over in two copies.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from mixmask_solo.data.augmentations.draws import Draws

__all__ = ["Plan", "plan", "to_device"]

_HUE = 3
_ROUNDS = 4
_AFTER = ("gray", "sigma", "solarize", "equalize", "angle")


@dataclass(frozen=True)
class Plan:
    """How n views are made, in the order in which they are worked on.

    Attributes:
        order: (n,) int64 numpy: which view of the batch each row is.
        back: (n,) int64: the row of each view of the batch.
        box: top, left, height, width, each (n,) float.
        flip: (n,) float, 1 where mirrored.
        jittered: number of views whose colours change; they come first.
        blends: see ``colour.jitter``.
        hues: see ``colour.jitter``.
        turns: (jittered,) shift of the hue in turns.
        gray: (k,) int64 rows that lose their colour, and so on; empty groups are None.
        blurred: rows and deviations.
        solarized: rows.
        equalized: rows.
        rotated: rows and angles in degrees.
    """

    order: NDArray[np.int64]
    back: Tensor
    box: tuple[Tensor, Tensor, Tensor, Tensor]
    flip: Tensor
    jittered: int
    blends: tuple[tuple[Tensor, Tensor, Tensor] | None, ...]
    hues: tuple[slice, ...]
    turns: Tensor
    gray: Tensor | None
    blurred: tuple[Tensor, Tensor] | None
    solarized: Tensor | None
    equalized: Tensor | None
    rotated: tuple[Tensor, Tensor] | None


def plan(draws: Draws, device: torch.device) -> Plan:
    """Sorts the views by the round in which their hue changes, those without jitter last.

    Args:
        draws: of n views.
        device: where the pixels are.
    """
    round_of_hue = np.where(draws.jitter, np.argmax(draws.order == _HUE, axis=1), _ROUNDS)
    order = np.argsort(round_of_hue, kind="stable")
    draws = draws.rows(order)
    bounds = np.searchsorted(round_of_hue[order], np.arange(_ROUNDS + 1)).tolist()
    jittered = bounds[_ROUNDS]
    coefficients = _coefficients(draws)
    floats = np.concatenate(
        [draws.box.T, draws.flip[None], draws.factors[:, _HUE][None], *coefficients]
    )
    groups = [np.flatnonzero(getattr(draws, name)) for name in _AFTER]
    strengths = [draws.sigma[groups[1]], draws.angle[groups[4]]]
    values = to_device(np.concatenate([floats.ravel(), *strengths], dtype=np.float32), device)
    table, sigma, angle = values.split([floats.size, *map(len, strengths)])
    rows = table.view(len(floats), -1)
    back = np.argsort(order)
    indexes = to_device(np.concatenate([back, *groups]), device)
    back_, gray, blurred, solarized, equalized, rotated = indexes.split(
        [len(back), *map(len, groups)]
    )
    changes_hue = bool(np.any(draws.factors[:jittered, _HUE]))
    return Plan(
        order=order,
        back=back_,
        box=(rows[0], rows[1], rows[2], rows[3]),
        flip=rows[4],
        jittered=jittered,
        blends=tuple(
            _blend(rows[6 + 3 * k : 9 + 3 * k, :jittered], coefficients[k]) for k in range(_ROUNDS)
        ),
        hues=tuple(slice(bounds[k], bounds[k + 1] if changes_hue else 0) for k in range(_ROUNDS)),
        turns=rows[5, :jittered],
        gray=_some(gray),
        blurred=None if len(blurred) == 0 else (blurred, sigma),
        solarized=_some(solarized),
        equalized=_some(equalized),
        rotated=None if len(rotated) == 0 else (rotated, angle),
    )


def to_device(values: NDArray[np.generic], device: torch.device) -> Tensor:
    """A copy on the device that nobody waits for; the array itself on the CPU."""
    tensor = torch.from_numpy(np.ascontiguousarray(values))
    if device.type != "cuda":
        return tensor.to(device)
    return tensor.pin_memory().to(device, non_blocking=True)


def _coefficients(draws: Draws) -> list[NDArray[np.float64]]:
    """Per round (3, n): factor, share of the mean grey, share of the pixel's grey."""
    rounds = []
    row = np.arange(len(draws.order))
    for k in range(_ROUNDS):
        operation = draws.order[:, k]
        factor = np.where(operation == _HUE, 1.0, draws.factors[row, operation])
        rest = 1.0 - factor
        rounds.append(np.stack([factor, rest * (operation == 1), rest * (operation == 2)]))
    return rounds


def _blend(rows: Tensor, coefficients: NDArray[np.float64]) -> tuple[Tensor, Tensor, Tensor] | None:
    neutral = rows.shape[1] == 0 or bool(np.all(coefficients[0, : rows.shape[1]] == 1.0))
    return None if neutral else (rows[0], rows[1], rows[2])


def _some(group: Tensor) -> Tensor | None:
    return group if len(group) else None

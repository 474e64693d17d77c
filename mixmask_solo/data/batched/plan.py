# SPDX-License-Identifier: MIT
"""From the draws of a batch to what the operations take: sorted, grouped, on the device.

Everything that depends on single images is decided here, with numpy on the CPU, so that the device
neither waits nor is waited for.
"""

from dataclasses import dataclass

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from mixmask_solo.data.augmentations.draws import Draws

_HUE = 3
_ROUNDS = 4
_GROUPS = ("gray", "sigma", "solarize", "equalize", "angle")


@dataclass(frozen=True)
class Plan:
    """How n views are made, in the order in which they are worked on."""

    rows: NDArray[np.int64]  # (n,) which view of the batch is worked on in which place
    back: Tensor  # (n,) int64 place of each view of the batch
    box: tuple[Tensor, Tensor, Tensor, Tensor]  # top, left, height, width, each (n,) float
    flip: Tensor  # (n,) float, 1 where mirrored
    jittered: int  # number of views whose colours change; they come first
    blends: tuple[tuple[Tensor, Tensor, Tensor] | None, ...]  # see colour.jitter, as the next two
    hues: tuple[slice, ...]
    turns: Tensor
    groups: dict[str, tuple[Tensor, Tensor]]  # by a draw (k,) int64 places that have it, strengths


def plan(draws: Draws, device: torch.device) -> Plan:
    """Sorts views by the round in which their hue changes, those without jitter last."""
    round_of_hue = np.where(draws.jitter, np.argmax(draws.order == _HUE, axis=1), _ROUNDS)
    rows = np.argsort(round_of_hue, kind="stable")
    draws = draws.rows(rows)
    bounds = np.searchsorted(round_of_hue[rows], np.arange(_ROUNDS + 1)).tolist()
    jittered = bounds[_ROUNDS]
    coefficients = _coefficients(draws)
    floats = np.concatenate(
        [draws.box.T, draws.flip[None], draws.factors[:, _HUE][None], *coefficients]
    )
    places = [np.flatnonzero(getattr(draws, name)) for name in _GROUPS]
    strengths = [getattr(draws, n)[p] for n, p in zip(_GROUPS, places, strict=True)]
    lengths = [len(group) for group in places]
    values = to_device(np.concatenate([floats.ravel(), *strengths], dtype=np.float32), device)
    flat, *strong = values.split([floats.size, *lengths])
    table = flat.view(len(floats), -1)
    back = np.argsort(rows)
    back_, *where = to_device(np.concatenate([back, *places]), device).split([len(back), *lengths])
    groups = zip(_GROUPS, zip(where, strong, strict=True), strict=True)
    changes_hue = bool(np.any(draws.factors[:jittered, _HUE]))
    rounds = table[6:, :jittered].unflatten(0, (_ROUNDS, 3))
    neutral = [bool(np.all(numbers[0, :jittered] == 1.0)) for numbers in coefficients]
    blends = [None if off else (k[0], k[1], k[2]) for k, off in zip(rounds, neutral, strict=True)]
    return Plan(
        rows=rows,
        back=back_,
        box=(table[0], table[1], table[2], table[3]),
        flip=table[4],
        jittered=jittered,
        blends=tuple(blends),
        hues=tuple(slice(bounds[k], bounds[k + 1] if changes_hue else 0) for k in range(_ROUNDS)),
        turns=table[5, :jittered],
        groups={name: group for name, group in groups if len(group[0])},
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
    for operation in draws.order.T:
        factor = draws.factors[np.arange(len(operation)), operation]
        factor = np.where(operation == _HUE, 1.0, factor)
        rest = 1.0 - factor
        rounds.append(np.stack([factor, rest * (operation == 1), rest * (operation == 2)]))
    return rounds

# SPDX-License-Identifier: MIT
"""Optimisers by name, with solo-learn's options and fused kernels where the machine has them."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from typing import Any

import torch
from timm.optim import Lars
from torch import nn
from torch.optim import SGD, Adam, AdamW, Optimizer

__all__ = ["OPTIMIZERS", "build_optimizer", "exclude_bias_and_norm"]

Group = dict[str, Any]
OPTIMIZERS: dict[str, Any] = {"sgd": SGD, "lars": Lars, "adam": Adam, "adamw": AdamW}
_CHOOSES_KERNEL = ("fused", "foreach", "differentiable", "capturable")


def build_optimizer(
    name: str,
    groups: list[Group],
    *,
    lr: float,
    weight_decay: float,
    allow_fused: bool,
    **kwargs: Any,
) -> Optimizer:
    """An optimiser over parameter groups.

    Args:
        name: one of :data:`OPTIMIZERS`.
        groups: dicts with ``params`` and settings; ``name`` is kept by the optimiser.
        lr: rate of groups without their own.
        weight_decay: of groups without their own.
        allow_fused: try the fused kernels of SGD, Adam, AdamW; the user's ``fused`` or ``foreach``
            among ``kwargs`` wins.
        kwargs: further arguments; for ``lars`` solo-learn's ``eta``, ``clip_lr`` and
            ``exclude_bias_n_norm``.

    Raises:
        ValueError: for an unknown name.
    """
    if name not in OPTIMIZERS:
        raise ValueError(f"optimizer.name is {name!r}: choose one of {', '.join(OPTIMIZERS)}")
    kwargs = {"lr": lr, "weight_decay": weight_decay, **kwargs}
    if name == "lars":
        return _lars(groups, **kwargs)
    make: Callable[..., Optimizer] = OPTIMIZERS[name]
    if allow_fused and not any(key in kwargs for key in _CHOOSES_KERNEL) and _fusable(groups):
        try:
            return make(groups, **kwargs, fused=True)
        except (RuntimeError, TypeError):  # this device, or this version of torch, has none
            pass
    return make(groups, **kwargs)


def exclude_bias_and_norm(groups: Iterable[Group]) -> list[Group]:
    """Splits each group: biases and norm layers (one axis at most) go without weight decay."""
    return [
        {**part, "weight_decay": 0} if flat else part
        for group in groups
        for part, flat in _split(group, lambda p: p.ndim <= 1, "_no_decay")
    ]


def _lars(
    groups: list[Group],
    *,
    eta: float = 1e-3,
    clip_lr: bool = False,
    exclude_bias_n_norm: bool = False,
    **kwargs: Any,
) -> Optimizer:
    """timm's LARS with solo-learn's meaning.

    solo-learn adapts every tensor, whatever its weight decay; with ``exclude_bias_n_norm`` those
    of one axis take plain steps without any decay. (Where a gradient is exactly zero timm still
    decays the weights and solo-learn does not.)
    """
    split = [
        {**part, "weight_decay": 0, "always_adapt": False} if plain else part
        for group in groups
        for part, plain in _split(group, lambda p: exclude_bias_n_norm and p.ndim == 1, "_no_adapt")
    ]
    return Lars(split, trust_coeff=eta, trust_clip=clip_lr, always_adapt=True, **kwargs)


def _split(group: Group, chosen: Any, suffix: str) -> list[tuple[Group, bool]]:
    """The group without the chosen parameters, and one of these; empty ones left out."""
    rest = {k: v for k, v in group.items() if k != "params"}
    name = {"name": group["name"] + suffix} if "name" in group else {}
    params: list[nn.Parameter] = list(group["params"])
    others, picked = [p for p in params if not chosen(p)], [p for p in params if chosen(p)]
    parts = [({**rest, "params": others}, False), ({**rest, **name, "params": picked}, True)]
    return [(part, flag) for part, flag in parts if part["params"]]


def _fusable(groups: list[Group]) -> bool:
    params = [p for group in groups for p in group["params"]]
    return all(p.dtype in (torch.float32, torch.float64) for p in params)

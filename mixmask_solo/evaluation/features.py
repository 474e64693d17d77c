# SPDX-License-Identifier: MIT
"""Features of a whole data set, in its order."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Sequence
from contextlib import contextmanager
from typing import Any

import torch
from torch import Tensor, nn
from torch.utils.data import DataLoader

from mixmask_solo.config import ConfigError

__all__ = ["KINDS", "evaluating", "extract"]

KINDS = ("backbone", "projector", "pixels")


def extract(
    model: nn.Module,
    loader: DataLoader[Any],
    device: torch.device | str,
    *,
    kinds: Sequence[str] = ("backbone",),
    dtype: torch.dtype = torch.float32,
    keep: torch.dtype = torch.float32,
    home: torch.device | str | None = None,
    watch: Callable[[Iterable[Any]], Iterable[Any]] = iter,
) -> tuple[dict[str, Tensor], Tensor]:
    """Runs every image through the network once, in eval mode.

    Args:
        model: a method, or for ``backbone`` and ``pixels`` a mere backbone.
        loader: batches ``(x (n, C, H, W), targets (n,))`` of a data set with a length.
        device: where the network runs.
        kinds: ``backbone`` (before the projector), ``projector`` (its output ``z``), ``pixels``
            (the flattened input). One forward pass serves them all.
        dtype: other than float32, the network runs in autocast to it.
        keep: floating type of the features that are kept.
        home: where they are kept; None for ``device``.
        watch: wraps the loader, for a progress bar.

    Returns:
        Per kind ``(N, D)``, and on ``device`` the labels ``(N,)`` int64, in the loader's order.

    Raises:
        ValueError: for an unknown kind, or a loader without images.
        ConfigError: when features hold NaN or infinity, naming the kind and how many images.
    """
    unknown = [kind for kind in kinds if kind not in KINDS]
    if unknown:
        raise ValueError(f"feature kind is {unknown[0]!r}: choose one of {', '.join(KINDS)}")
    device, total = torch.device(device), _length(loader)
    stores: dict[str, Tensor] = {}
    lost: dict[str, Tensor] = {}
    labels = torch.empty(total, dtype=torch.int64, device=device)
    start, ahead = 0, device.type == "cuda"  # what goes to the CPU is read there at once
    with evaluating(model, device), _autocast(device, dtype), torch.inference_mode():
        for x, targets in watch(loader):
            # One copy with the layout change in it: cuDNN and oneDNN both prefer channels last.
            x = x.to(device, memory_format=torch.channels_last, non_blocking=ahead)
            end = start + len(x)
            for kind, found in _read(model, x, kinds).items():
                rows = found.to(keep)
                if kind not in stores:
                    stores[kind] = _store(total, rows.shape[1], keep, home or device)
                    lost[kind] = torch.zeros((), dtype=torch.int64, device=rows.device)
                stores[kind][start:end] = rows
                lost[kind] += (~rows.isfinite()).any(1).sum()
            labels[start:end] = targets.to(device, non_blocking=ahead)
            start = end
    if start == 0:
        raise ValueError("there is no image to take features of")
    for kind, count in lost.items():
        if count:
            what = (
                "hold NaN or infinity: no accuracy can be measured on them, use a checkpoint of a "
            )
            what += "run that did not diverge"
            if keep != torch.float32:
                half = str(keep).removeprefix("torch.")
                what = f"hold NaN, infinity or more than {half} holds: set bank_dtype to float32"
            raise ConfigError(f"the {kind} features of {int(count)} of {start} images {what}")
    return {kind: store[:start] for kind, store in stores.items()}, labels[:start]


@contextmanager
def evaluating(model: nn.Module, device: torch.device | str) -> Iterator[None]:
    """Puts a network on ``device`` in eval mode; afterwards each part is in its mode again."""
    modes = {module: module.training for module in model.modules()}
    model.to(device, memory_format=torch.channels_last)  # type: ignore[call-overload]
    model.eval()
    try:
        yield
    finally:
        for module, training in modes.items():
            module.training = training


def _read(model: nn.Module, x: Tensor, kinds: Sequence[str]) -> dict[str, Tensor]:
    found = {"pixels": x.flatten(1)} if "pixels" in kinds else {}
    if "projector" in kinds:
        out = model(x)
        found |= {"projector": out["z"], "backbone": out["feats"]}
    elif "backbone" in kinds:
        found["backbone"] = getattr(model, "backbone", model)(x)
    return {kind: found[kind] for kind in kinds}


def _store(total: int, width: int, keep: torch.dtype, home: torch.device | str) -> Tensor:
    with torch.inference_mode(False):  # so that a probe may train on the features
        return torch.empty(total, width, dtype=keep, device=home)


def _autocast(device: torch.device, dtype: torch.dtype) -> Any:
    return torch.autocast(device.type, dtype=dtype, enabled=dtype != torch.float32)


def _length(loader: DataLoader[Any]) -> int:
    return len(loader.dataset)  # type: ignore[arg-type]

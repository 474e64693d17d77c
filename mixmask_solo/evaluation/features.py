# SPDX-License-Identifier: MIT
"""Features of a whole data set, and a data module that trains on features computed once."""

from collections.abc import Callable, Iterable, Iterator, Sequence
from typing import Any

import torch
from lightning.pytorch import LightningDataModule
from torch import Tensor, nn
from torch.utils.data import BatchSampler, DataLoader

from mixmask_solo.config import ConfigError
from mixmask_solo.data.augmentations.randomness import mix
from mixmask_solo.data.order.loading import DirectLoader
from mixmask_solo.data.order.sampler import position

_VALIDATED = 4096  # rows at once

Extracted = tuple[dict[str, Tensor], Tensor]  # features by kind, labels
Labelled = tuple[Tensor, Tensor]


def extract(
    model: nn.Module,
    loader: DataLoader[Any],
    device: torch.device | str,
    *,
    kinds: Sequence[str] = ("backbone",),
    keep: torch.dtype = torch.float32,
    home: torch.device | str | None = None,
    watch: Callable[[Iterable[Any]], Iterable[Any]] = iter,
) -> Extracted:
    """Runs every image through the network once, in eval mode, in which it stays.

    Args:
        model: a method, or for ``backbone`` and ``pixels`` a mere backbone.
        loader: batches ``(x (n, C, H, W), targets (n,))`` of a data set with a length.
        kinds: ``backbone`` (before the projector), ``projector`` (its output ``z``), ``pixels``
            (the flattened input). One forward pass serves them all.
        keep: floating type of the features, which are kept on ``home``, by default ``device``.
        watch: wraps the loader, for a progress bar.

    Returns per kind ``(N, D)``, and on ``device`` the labels ``(N,)`` int64, in the loader's order;
    raises ValueError for a loader without images, ConfigError where features are not finite.
    """
    device, total = torch.device(device), len(loader.dataset)  # type: ignore[arg-type]
    stores: dict[str, Tensor] = {}
    lost: dict[str, Tensor] = {}
    labels = torch.empty(total, dtype=torch.int64, device=device)
    start, ahead = 0, device.type == "cuda"  # what goes to the CPU is read there at once
    model.to(device, memory_format=torch.channels_last)  # type: ignore[call-overload]
    model.eval()
    with torch.inference_mode():
        for x, targets in watch(loader):
            # One copy with the layout change in it: cuDNN and oneDNN both prefer channels last.
            x = x.to(device, memory_format=torch.channels_last, non_blocking=ahead)
            end = start + len(x)
            for kind, found in features_of(model, x, kinds).items():
                rows = found.to(keep)
                if kind not in stores:
                    with torch.inference_mode(False):  # so that a probe may train on the features
                        store = torch.empty(total, rows.shape[1], dtype=keep, device=home or device)
                    stores[kind] = store
                    lost[kind] = torch.zeros((), dtype=torch.int64, device=rows.device)
                stores[kind][start:end] = rows
                lost[kind] += (~rows.isfinite()).any(1).sum()
            labels[start:end] = targets.to(device, non_blocking=ahead)
            start = end
    if start == 0:
        raise ValueError("there is no image to take features of")
    for kind, count in lost.items():
        if count:
            some = f"the {kind} features of {int(count)} of {start} images hold"
            raise ConfigError(f"{some} {_not_finite(keep)}")
    return {kind: store[:start] for kind, store in stores.items()}, labels[:start]


def _not_finite(keep: torch.dtype) -> str:
    if keep != torch.float32:
        half = str(keep).removeprefix("torch.")
        return f"NaN, infinity or more than {half} holds: set bank_dtype to float32"
    return (
        "NaN or infinity: no accuracy can be measured on them, use a checkpoint of a run that did "
        "not diverge"
    )


def features_of(model: nn.Module, x: Tensor, kinds: Sequence[str]) -> dict[str, Tensor]:
    """Features ``(n, D)`` of a batch ``x (n, C, H, W)`` by kind, from one forward pass."""
    found = {"pixels": x.flatten(1)} if "pixels" in kinds else {}
    if "projector" in kinds:
        out = model(x)
        found |= {"projector": out["z"], "backbone": out["feats"]}
    elif "backbone" in kinds:
        found["backbone"] = getattr(model, "backbone", model)(x)
    return {kind: found[kind] for kind in kinds}


class CachedFeatures(LightningDataModule):
    """Training and validation features ``(M, D)`` with labels ``(M,)``, whole on one device; those
    of images ``held`` out are validated, too, by a loader of their own.

    The order of an epoch is a function of (seed, epoch), so a resumed run sees the same batches.
    The last, smaller batch is kept.
    """

    train_labels = "all"

    def __init__(
        self,
        train: Labelled,
        val: Labelled,
        batch_size: int,
        seed: int,
        held: Labelled | None = None,
    ) -> None:
        super().__init__()
        self.train, self.val, self.held = train, val, held
        self.batch_size, self.seed = batch_size, seed

    def train_dataloader(self) -> Any:
        """Shuffled batches ``(features (n, D), labels (n,))``."""
        labels = range(len(self.train[1]))
        return DirectLoader(labels, BatchSampler(labels, self.batch_size, False), self._epoch)

    def _epoch(self, _: Any) -> Iterator[Labelled]:
        epoch, start = position(self.trainer) if self.trainer is not None else (0, 0)
        features, labels = self.train
        generator = torch.Generator().manual_seed(mix(self.seed, epoch))
        order = torch.randperm(len(labels), generator=generator).to(labels.device)
        for rows in order.split(self.batch_size)[start:]:
            yield features[rows], labels[rows]

    def val_dataloader(self) -> Any:
        validated = _validated(self.val)
        return validated if self.held is None else [validated, _validated(self.held)]


def _validated(rows: Labelled) -> DataLoader[Any]:
    batches = list(zip(*(x.split(_VALIDATED) for x in rows), strict=True))
    # a generator of its own: a loader draws a number, also where it has no use for it
    return DataLoader(batches, batch_size=None, generator=torch.Generator())  # type: ignore[arg-type]

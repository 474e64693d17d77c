# SPDX-License-Identifier: MIT
"""The k-NN of a run: collects features of an epoch and classifies validation images with them."""

import math
from collections.abc import Mapping
from typing import Any

import torch
import torch.distributed as dist
import torch.nn.functional as F
from torch import Tensor
from torchmetrics.utilities.distributed import gather_all_tensors

from mixmask_solo.host.builtin.defaults import one_of
from mixmask_solo.host.knn import DISTANCES, Accuracy, Setting, accuracies, drop_unlabelled, nearest
from mixmask_solo.objectives.distributed import world_size

_TEMPERATURE = 0.07


class WeightedKNN:
    """Features of training images, the bank, and of validation images.

    Each process searches in the features of its own images; only validation features and what was
    found travel between processes.

    Args:
        k, distance: as for :func:`nearest`.
        dtype: the bank's, ``float16`` or ``bfloat16``; with ``float32`` features stay as they are.
        device: where the bank lies: ``device``, that of the features, or ``cpu``.

    Raises:
        ValueError: for another distance, type or place.
    """

    def __init__(
        self, k: int = 20, distance: str = "cosine", dtype: str = "float32", device: str = "device"
    ) -> None:
        one_of("knn_eval.distance_func", distance, DISTANCES)
        one_of("knn_eval.bank_dtype", dtype, ("float32", "float16", "bfloat16"))
        one_of("knn_eval.bank_device", device, ("device", "cpu"))
        self.k, self.distance = k, distance
        self.dtype: torch.dtype = getattr(torch, dtype)
        self.on_cpu = device == "cpu"
        self.reset()

    @classmethod
    def of(cls, block: Mapping[str, Any]) -> "WeightedKNN":
        """As the block ``knn_eval`` asks for."""
        dtype, device = block.get("bank_dtype"), block.get("bank_device")
        return cls(block["k"], block["distance_func"], dtype or "float32", device or "device")

    def reset(self) -> None:
        """Forgets all features."""
        self.train_features: list[Tensor] = []
        self.train_targets: list[Tensor] = []
        self.test_features: list[Tensor] = []
        self.test_targets: list[Tensor] = []

    def update(
        self,
        train_features: Tensor | None = None,
        train_targets: Tensor | None = None,
        test_features: Tensor | None = None,
        test_targets: Tensor | None = None,
    ) -> None:
        """Adds features ``(N, D)`` with targets ``(N,)``, -1 without label; waits for nothing."""
        if train_features is not None and train_targets is not None:
            self.train_features.append(self._kept(train_features.detach()))
            self.train_targets.append(train_targets.detach())
        if test_features is not None and test_targets is not None:
            self.test_features.append(test_features.detach())
            self.test_targets.append(test_targets.detach())

    __call__ = update  # solo-learn's methods call theirs

    def compute(self) -> Accuracy:
        """Accuracy over the labelled samples of all processes, which all call this; then resets.

        NaN where there is no labelled sample to search in, or none to search for.
        """
        bank, labels = drop_unlabelled(self.train_features, self.train_targets)
        # on a GPU, that has waited for what `_kept` copies
        tests, targets = drop_unlabelled(self.test_features, self.test_targets)
        self.reset()
        queries = _everywhere(tests, torch.empty(0, 0))
        wanted, known = (
            _everywhere(x, torch.empty(0, dtype=torch.int64)) for x in (targets, labels)
        )
        if not len(wanted) or not len(known):
            return Accuracy(math.nan, math.nan)

        def search(part: Tensor) -> tuple[Tensor, Tensor]:
            found = nearest(part, bank, self.k, self.distance)
            return _merged(*found, sum(map(len, bank)), self.k) if world_size() > 1 else found

        temperature = _TEMPERATURE if self.distance == "cosine" else None
        setting = Setting(self.k, temperature)
        return accuracies(search, known, queries, wanted, [setting])[setting]

    def _kept(self, features: Tensor) -> Tensor:
        if self.dtype != torch.float32:
            # of unit length first: half precision has no room for what is far from 1
            unit = F.normalize(features.float(), dim=1) if self.distance == "cosine" else features
            features = unit.to(self.dtype)
        if not self.on_cpu or features.device.type == "cpu":
            return features
        pinned = torch.empty(features.shape, dtype=features.dtype, pin_memory=True)
        return pinned.copy_(features, non_blocking=True)


def _everywhere(pieces: list[Tensor], nothing: Tensor) -> Tensor:
    """The pieces of all processes, in the order of their ranks."""
    if world_size() == 1:
        return torch.cat(pieces) if pieces else nothing
    home = "cuda" if dist.get_backend() == "nccl" else "cpu"  # where there is no piece to tell
    own = (torch.cat(pieces) if pieces else nothing.to(home)).to(nothing.dtype)
    return torch.cat([x for x in gather_all_tensors(own) if len(x)] or [own])


def _merged(closeness: Tensor, index: Tensor, mine: int, k: int) -> tuple[Tensor, Tensor]:
    """From the nearest in each process' bank to the nearest in all, numbered as one."""
    sizes = torch.cat(gather_all_tensors(torch.tensor([mine], device=index.device)))
    index = index + sizes[: dist.get_rank()].sum()
    near, place = (torch.cat(gather_all_tensors(x), 1) for x in (closeness, index))
    near, order = near.topk(min(k, near.shape[1]), dim=1)
    return near, place.gather(1, order)

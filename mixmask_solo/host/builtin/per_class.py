# SPDX-License-Identifier: MIT
"""Accuracy in which every class counts the same, however many images it has."""

import torch
import torch.distributed as dist
from torch import Tensor

from mixmask_solo.host.knn import UNLABELLED
from mixmask_solo.objectives.distributed import world_size

MEAN_CLASS = "val_mean_class_acc1"


class MeanPerClass:
    """Mean over the classes of their own top-1, as the transfer benchmarks with few or uneven
    images a class report it (Kornblith et al. 2019, Table 4 of its appendix)."""

    def __init__(self, classes: int) -> None:
        self.classes = classes
        self._counts: Tensor | None = None  # (2, classes) float64: images, and those recognised

    def add(self, logits: Tensor, targets: Tensor) -> None:
        """Counts ``logits (N, C)`` for ``targets (N,)`` int64; nothing waits for the device."""
        if self._counts is None:
            shape = (2, self.classes)
            self._counts = torch.zeros(shape, dtype=torch.float64, device=logits.device)
        labelled = (targets != UNLABELLED).double()
        hits = (logits.detach().argmax(dim=1) == targets).double() * labelled
        self._counts.index_add_(1, targets.clamp_min(0), torch.stack([labelled, hits]))

    def compute(self, device: torch.device) -> Tensor | None:
        """Percentage over the images of all processes, a scalar, and starts anew.

        A class without images does not count; None where there is no image at all.
        """
        empty = torch.zeros(2, self.classes, dtype=torch.float64, device=device)
        counts = empty if self._counts is None else self._counts
        self._counts = None
        if world_size() > 1:
            dist.all_reduce(counts)
        images, hits = counts
        there = images > 0
        if not bool(there.any()):
            return None
        return (100 * hits[there] / images[there]).mean().to(torch.get_default_dtype())

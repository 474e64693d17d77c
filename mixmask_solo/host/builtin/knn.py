# SPDX-License-Identifier: MIT
"""Weighted k-nearest-neighbour classification of features, as functions and as a metric."""

from __future__ import annotations

from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor
from torchmetrics import Metric

__all__ = ["DISTANCES", "WeightedKNN", "knn_accuracy", "knn_scores"]

DISTANCES = ("cosine", "euclidean")


@torch.no_grad()
def knn_scores(
    train_features: Tensor,
    train_targets: Tensor,
    test_features: Tensor,
    *,
    num_classes: int,
    k: int = 20,
    distance: str = "cosine",
    temperature: float = 0.07,
    epsilon: float = 1e-5,
    max_elements: int = 5_000_000,
) -> Tensor:
    """Sum of the neighbours' votes for each class.

    Args:
        train_features: ``(M, D)``.
        train_targets: ``(M,)`` int64 in ``0 .. num_classes - 1``.
        test_features: ``(N, D)``.
        num_classes: C.
        k: neighbours; all M where there are fewer.
        distance: ``cosine`` (votes of weight ``exp(cos / temperature)``) or ``euclidean`` (of
            weight ``1 / (distance + epsilon)``, features as they are).
        temperature: of the cosine's votes.
        epsilon: keeps a distance of 0 finite.
        max_elements: of the distance matrix held at once; test samples are taken in chunks.

    Returns:
        ``(N, C)`` scores in float32 at least.

    Raises:
        ValueError: for an unknown distance.
    """
    if distance not in DISTANCES:
        raise ValueError(f"distance is {distance!r}: choose one of {', '.join(DISTANCES)}")
    train, test = (_prepare(x, distance) for x in (train_features, test_features))
    k = min(k, len(train))
    scores = test.new_zeros(len(test), num_classes)
    chunk = max(1, max_elements // len(train))
    for part, out in zip(test.split(chunk), scores.split(chunk), strict=True):
        if distance == "cosine":
            nearest, index = (part @ train.T).topk(k)
            votes = (nearest / temperature).exp()
        else:
            nearest, index = torch.cdist(part, train).topk(k, largest=False)
            votes = 1.0 / (nearest + epsilon)
        out.scatter_add_(1, train_targets[index], votes)
    return scores


@torch.no_grad()
def knn_accuracy(
    train_features: Tensor,
    train_targets: Tensor,
    test_features: Tensor,
    test_targets: Tensor,
    *,
    k: int = 20,
    **options: Any,
) -> tuple[float, float]:
    """Top-1 and top-5 accuracy in percent; see :func:`knn_scores` for ``options``.

    Top-5 looks at the ``min(5, k, classes)`` best classes.
    """
    num_classes = int(torch.cat([train_targets, test_targets]).max()) + 1
    scores = knn_scores(
        train_features, train_targets, test_features, num_classes=num_classes, k=k, **options
    )
    best = scores.topk(min(5, k, num_classes), dim=1).indices
    hits = best == test_targets.unsqueeze(1)
    top1, top5 = hits[:, :1].sum().item(), hits.sum().item()
    return 100.0 * top1 / len(test_targets), 100.0 * top5 / len(test_targets)


def _prepare(features: Tensor, distance: str) -> Tensor:
    features = features if features.dtype == torch.float64 else features.float()
    return F.normalize(features, dim=1) if distance == "cosine" else features


class WeightedKNN(Metric):
    """Collects features of an epoch and classifies the test ones at its end.

    Args:
        k: neighbours.
        distance: ``cosine`` or ``euclidean``.
        temperature: of the cosine's votes.
        epsilon: keeps a distance of 0 finite.
        max_elements: of the distance matrix held at once.
    """

    full_state_update = False
    train_features: list[Tensor]
    train_targets: list[Tensor]
    test_features: list[Tensor]
    test_targets: list[Tensor]

    def __init__(
        self,
        k: int = 20,
        distance: str = "cosine",
        temperature: float = 0.07,
        epsilon: float = 1e-5,
        max_elements: int = 5_000_000,
    ) -> None:
        super().__init__()
        if distance not in DISTANCES:
            raise ValueError(
                f"knn_eval.distance_func is {distance!r}: choose one of {', '.join(DISTANCES)}"
            )
        self.k = k
        self.options = {
            "distance": distance,
            "temperature": temperature,
            "epsilon": epsilon,
            "max_elements": max_elements,
        }
        for name in ("train_features", "train_targets", "test_features", "test_targets"):
            self.add_state(name, default=[], dist_reduce_fx="cat", persistent=False)

    @property
    def ready(self) -> bool:
        """Whether there is something to search in and something to search for."""
        return len(self.train_features) > 0 and len(self.test_features) > 0

    def update(
        self,
        train_features: Tensor | None = None,
        train_targets: Tensor | None = None,
        test_features: Tensor | None = None,
        test_targets: Tensor | None = None,
    ) -> None:
        """Adds features ``(N, D)`` with targets ``(N,)``; -1 marks samples without label."""
        if train_features is not None and train_targets is not None:
            self.train_features.append(train_features.detach())
            self.train_targets.append(train_targets.detach())
        if test_features is not None and test_targets is not None:
            self.test_features.append(test_features.detach())
            self.test_targets.append(test_targets.detach())

    def compute(self) -> tuple[float, float]:
        """Top-1 and top-5 accuracy in percent over the labelled samples; (-1, -1) without any."""
        if not self.ready:
            return -1.0, -1.0
        train, train_targets = _labelled(self.train_features, self.train_targets)
        test, test_targets = _labelled(self.test_features, self.test_targets)
        if not len(train) or not len(test):
            return -1.0, -1.0
        return knn_accuracy(train, train_targets, test, test_targets, k=self.k, **self.options)


def _labelled(features: Any, targets: Any) -> tuple[Tensor, Tensor]:
    # A list in one process, already one tensor after synchronisation of several.
    features, targets = (
        torch.cat(list(x)) if isinstance(x, (list, tuple)) else x for x in (features, targets)
    )
    keep = targets != -1
    return features[keep], targets[keep]

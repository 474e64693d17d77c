# SPDX-License-Identifier: MIT
"""Weighted k-NN for many numbers of neighbours and temperatures at once.

The search costs nearly everything and does not depend on them: it is done once with the largest k,
the votes are counted per setting. Same numbers as the host's ``knn_accuracy``, one setting a call.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import NamedTuple

import torch
import torch.nn.functional as F
from torch import Tensor

__all__ = ["DISTANCES", "Accuracy", "Setting", "knn"]

DISTANCES = ("cosine", "euclidean")
_EPSILON = 1e-5  # solo-learn's: keeps the vote of a neighbour at distance 0 finite
_MAX_ELEMENTS = 1 << 24  # of the distance matrix held at once


class Setting(NamedTuple):
    """Number of neighbours; temperature of their votes, None for euclidean distance."""

    k: int
    temperature: float | None


class Accuracy(NamedTuple):
    """Percent of the test samples."""

    top1: float
    top5: float


@torch.no_grad()
def knn(
    train_features: Tensor,
    train_labels: Tensor,
    test_features: Tensor,
    test_labels: Tensor,
    *,
    k: Sequence[int] = (20,),
    temperature: Sequence[float] = (0.07,),
    distance: str = "cosine",
) -> dict[Setting, Accuracy]:
    """Classifies each test sample by its nearest training samples.

    Args:
        train_features: ``(M, D)``.
        train_labels: ``(M,)`` int64, classes from 0.
        test_features: ``(N, D)`` on the same device.
        test_labels: ``(N,)`` int64.
        k: numbers of neighbours; all M where there are fewer.
        temperature: of the cosine's votes ``exp(cos / temperature)``.
        distance: ``cosine``, or ``euclidean`` with votes ``1 / (distance + 1e-5)``.

    Returns:
        Accuracy per setting, all combinations, k outermost. Top-5 looks at the ``min(5, k,
        classes)`` best classes.

    Raises:
        ValueError: for an unknown distance, a k or temperature that is not positive, no samples.
    """
    _check(k, temperature, distance, len(train_features), len(test_features))
    temperatures = list(temperature) if distance == "cosine" else [None]
    settings = [Setting(n, t) for n in k for t in temperatures]
    classes = int(torch.cat([train_labels, test_labels]).max()) + 1
    train, test = (_prepare(x, distance) for x in (train_features, test_features))
    hits = torch.zeros(len(settings), 2, dtype=torch.int64, device=test.device)
    chunk = max(1, _MAX_ELEMENTS // len(train))
    for part, labels in zip(test.split(chunk), test_labels.split(chunk), strict=True):
        closeness, index = _search(part, train, min(max(k), len(train)), distance)
        neighbours = train_labels[index]
        for row, setting in zip(hits, settings, strict=True):
            votes = _votes(closeness[:, : setting.k], setting.temperature)
            scores = votes.new_zeros(len(part), classes)
            scores.scatter_add_(1, neighbours[:, : setting.k], votes)
            best = scores.topk(min(5, setting.k, classes), dim=1).indices
            hit = best == labels.unsqueeze(1)
            row += torch.stack([hit[:, 0].sum(), hit.sum()])
    percent = (100.0 * hits.double() / len(test)).tolist()
    return {s: Accuracy(*row) for s, row in zip(settings, percent, strict=True)}


def _search(test: Tensor, train: Tensor, k: int, distance: str) -> tuple[Tensor, Tensor]:
    """The k nearest in falling order: cosines or negative distances ``(n, k)``, and indexes."""
    matrix = test @ train.T if distance == "cosine" else -torch.cdist(test, train)
    values, index = matrix.topk(k, dim=1)
    return values, index


def _votes(closeness: Tensor, temperature: float | None) -> Tensor:
    if temperature is None:
        return 1.0 / (_EPSILON - closeness)
    # A common factor per sample changes no ranking, and keeps small temperatures from overflowing.
    return ((closeness - closeness[:, :1]) / temperature).exp()


def _prepare(features: Tensor, distance: str) -> Tensor:
    features = features if features.dtype == torch.float64 else features.float()
    return F.normalize(features, dim=1) if distance == "cosine" else features


def _check(
    k: Sequence[int], temperature: Sequence[float], distance: str, n_train: int, n_test: int
) -> None:
    if distance not in DISTANCES:
        raise ValueError(f"distance is {distance!r}: choose one of {', '.join(DISTANCES)}")
    if not k or min(k) < 1:
        raise ValueError(f"k is {list(k)}: give whole numbers, at least 1")
    if not temperature or min(temperature) <= 0:
        raise ValueError(f"temperature is {list(temperature)}: give numbers above 0")
    if not n_train or not n_test:
        raise ValueError(f"there are {n_train} training and {n_test} test samples: both are needed")

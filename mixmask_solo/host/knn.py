# SPDX-License-Identifier: MIT
"""Weighted k-nearest-neighbour classification: one search, for many settings at once.

The search costs nearly everything: it is done once with the largest k, the votes are counted per
setting. It takes bank and queries piece by piece, for little memory beside the features.
"""

from collections.abc import Callable, Iterator, Sequence
from typing import NamedTuple

import torch
import torch.nn.functional as F
from torch import Tensor

DISTANCES = ("cosine", "euclidean")
UNLABELLED = -1
_EPSILON = 1e-5  # solo-learn's: keeps the vote of a neighbour at distance 0 finite
_QUERIES = 1 << 13  # that are answered together: the bank is prepared anew for each so many
_MATRIX = 1 << 24  # elements of the distance matrix held at once
_PIECE = 1 << 24  # elements of the bank that are compared at once

Search = Callable[[Tensor], tuple[Tensor, Tensor]]


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
    """Classifies each labelled test sample by its nearest labelled training samples.

    Args:
        train_features: ``(M, D)``, the bank; may be of half precision, and on another device.
        train_labels: ``(M,)`` int64, any numbers; -1 has no label.
        test_features: ``(N, D)``; the search runs on their device, in float32 at least.
        test_labels: ``(N,)`` int64 likewise.
        k: numbers of neighbours; all M where there are fewer.
        temperature: of the cosine's votes ``exp(cos / temperature)``.
        distance: ``cosine``, or ``euclidean`` with votes ``1 / (distance + 1e-5)``.

    Returns:
        Accuracy per setting, all combinations, k outermost. Top-5 looks at the ``min(5, k,
        classes)`` best classes.

    Raises:
        ValueError: for an unknown distance, a k or temperature that is not positive, no samples.
    """
    bank, [train_labels] = drop_unlabelled([train_features], [train_labels])
    [test_features], [test_labels] = drop_unlabelled([test_features], [test_labels])
    _check(k, temperature, distance, len(train_labels), len(test_labels))
    temperatures = temperature if distance == "cosine" else [None]
    settings = [Setting(n, t) for n in k for t in temperatures]

    def search(queries: Tensor) -> tuple[Tensor, Tensor]:
        return nearest(queries, bank, max(k), distance)

    return accuracies(search, train_labels, test_features, test_labels, settings)


def accuracies(
    search: Search, labels: Tensor, queries: Tensor, targets: Tensor, settings: Sequence[Setting]
) -> dict[Setting, Accuracy]:
    """Counts neighbours' votes, a block of queries after the other.

    Args:
        search: from ``(n, D)`` queries to what :func:`nearest` gives.
        labels: ``(M,)`` of the bank.
        queries, targets: ``(N, D)`` and ``(N,)``.
        settings: what to count, k at most that of the search.
    """
    # numbered anew: scores have a column for each class that there is, not for each number
    names, number = torch.cat([labels.to(targets.device), targets]).unique(return_inverse=True)
    labels, targets = number[: len(labels)], number[len(labels) :]
    hits = torch.zeros(len(settings), 2, dtype=torch.int64, device=targets.device)
    rows = min(_QUERIES, max(1, _MATRIX // len(names)))
    for part, wanted in zip(queries.split(rows), targets.split(rows), strict=True):
        closeness, index = search(part)
        neighbours = labels[index]
        for row, (k, temperature) in zip(hits, settings, strict=True):
            votes = _votes(closeness[:, :k], temperature)
            scores = votes.new_zeros(len(part), len(names))
            scores.scatter_add_(1, neighbours[:, :k], votes)
            best = scores.topk(min(5, k, len(names)), dim=1).indices
            hit = best == wanted.unsqueeze(1)
            row += torch.stack([hit[:, 0].sum(), hit.sum()])
    percent = (100.0 * hits.double() / len(targets)).tolist()
    return {s: Accuracy(*row) for s, row in zip(settings, percent, strict=True)}


@torch.no_grad()
def nearest(
    queries: Tensor, bank: Sequence[Tensor], k: int, distance: str
) -> tuple[Tensor, Tensor]:
    """The k nearest of each query in falling order, all where there are fewer.

    ``queries`` are ``(N, D)``, the bank pieces ``(m, D)`` of any floating type and on any device;
    ``distance`` is ``cosine`` or ``euclidean``.

    Returns:
        Cosines or negative distances ``(N, k)``, and places in the bank ``(N, k)`` int64.
    """
    k = min(k, sum(len(piece) for piece in bank))
    kind = torch.promote_types(queries.dtype, torch.float32)
    closeness = queries.new_full((len(queries), k), -torch.inf, dtype=kind)
    index = torch.zeros_like(closeness, dtype=torch.int64)
    first = 0
    for piece in _pieces(bank, max(k, _PIECE // queries.shape[1])):
        known = _prepare(piece.to(queries.device, kind), distance)
        rows = max(1, _MATRIX // len(known))
        parts = (x.split(rows) for x in (queries, closeness, index))
        for part, best, where in zip(*parts, strict=True):
            test = _prepare(part.to(kind), distance)
            matrix = test @ known.T if distance == "cosine" else torch.cdist(test, known).neg_()
            near, place = matrix.topk(min(k, len(known)), dim=1)
            if first:
                near, order = torch.cat([best, near], 1).topk(k)
                place = torch.cat([where, place + first], 1).gather(1, order)
            best[:, : near.shape[1]], where[:, : near.shape[1]] = near, place
        first += len(known)
    return closeness, index


def _pieces(bank: Sequence[Tensor], rows: int) -> Iterator[Tensor]:
    """The bank in pieces of at most ``rows``: batches put together, a whole set cut up."""
    waiting: list[Tensor] = []
    for part in (part for piece in bank for part in piece.split(rows) if len(part)):
        if waiting and sum(map(len, waiting)) + len(part) > rows:
            yield torch.cat(waiting)
            waiting = []
        waiting.append(part)
    if waiting:
        yield torch.cat(waiting)


def _votes(closeness: Tensor, temperature: float | None) -> Tensor:
    if temperature is None:
        return 1.0 / (_EPSILON - closeness)
    # A common factor per sample changes no ranking, and keeps small temperatures from overflowing.
    return ((closeness - closeness[:, :1]) / temperature).exp()


def _prepare(features: Tensor, distance: str) -> Tensor:
    return F.normalize(features, dim=1) if distance == "cosine" else features


def drop_unlabelled(
    features: list[Tensor], labels: list[Tensor]
) -> tuple[list[Tensor], list[Tensor]]:
    """Pieces ``(n, D)`` and ``(n,)`` without the rows that have no label."""
    kept = [piece != UNLABELLED for piece in labels]
    if not kept or bool(torch.cat(kept).all()):
        return features, labels  # nothing is copied
    rows = [x[keep.to(x.device)] for x, keep in zip(features, kept, strict=True)]
    return rows, [x[keep] for x, keep in zip(labels, kept, strict=True)]


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
        raise ValueError(
            f"there are {n_train} labelled training and {n_test} labelled test samples: both are "
            "needed"
        )

# SPDX-License-Identifier: MIT
"""k-NN for many settings from one search."""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import Any

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from torch import Tensor

from mixmask_solo.host import knn as module
from mixmask_solo.host.knn import Setting, knn

Sets = tuple[Tensor, Tensor, Tensor, Tensor]


def sets(seed: int = 0, m: int = 60, n: int = 25, classes: int = 7) -> Sets:
    generator = torch.Generator().manual_seed(seed)
    centres = torch.randn(classes, 6, generator=generator)
    labels = torch.randint(classes, (m + n,), generator=generator)
    features = centres[labels] + torch.randn(m + n, 6, generator=generator)
    return features[:m], labels[:m], features[m:], labels[m:]


def slow_top1(data: Sets, k: int, temperature: float, distance: str) -> float:
    """One sample after another, as the papers put it in words."""
    train, train_labels, test, test_labels = (x.tolist() for x in data)
    right = 0
    for x, label in zip(test, test_labels, strict=True):
        found = []
        for y, vote in zip(train, train_labels, strict=True):
            if distance == "cosine":
                dot = sum(a * b for a, b in zip(x, y, strict=True))
                cos = dot / math.hypot(*x) / math.hypot(*y)
                found.append((-cos, math.exp(cos / temperature), vote))
            else:
                d = math.dist(x, y)
                found.append((d, 1 / (d + 1e-5), vote))
        scores: dict[int, float] = {}
        for _, weight, vote in sorted(found)[:k]:
            scores[vote] = scores.get(vote, 0.0) + weight
        right += max(scores, key=lambda c: scores[c]) == label
    return 100.0 * right / len(test)


@pytest.mark.parametrize("distance", ["cosine", "euclidean"])
@pytest.mark.parametrize("k", [1, 4, 20, 200])
def test_against_the_slow_way(distance: str, k: int) -> None:
    data = tuple(x.double() if x.is_floating_point() else x for x in sets())
    found = knn(*data, k=[1, 4, 20, 200], temperature=[0.1], distance=distance)
    setting = Setting(k, 0.1 if distance == "cosine" else None)
    assert found[setting].top1 == pytest.approx(slow_top1(data, k, 0.1, distance))


@pytest.mark.parametrize("distance", ["cosine", "euclidean"])
@pytest.mark.parametrize(("k", "infix"), [(20, ""), (3, "_k3")])
def test_solo_learns_numbers(
    golden: Callable[[str], dict[str, Any]], distance: str, k: int, infix: str
) -> None:
    stored = golden("solo_knn")
    names = ("train_features", "train_targets", "test_features", "test_targets")
    data = [torch.from_numpy(stored[name]) for name in names]
    [found] = knn(*data, k=[k], temperature=[float(stored["T"])], distance=distance).values()
    assert found.top1 == pytest.approx(float(stored[f"{distance}{infix}_top1"]))
    if not infix:
        assert found.top5 == pytest.approx(float(stored[f"{distance}_top5"]))


@given(st.integers(0, 10_000), st.integers(1, 40))
def test_chunks_and_order_of_the_memory_change_nothing(seed: int, elements: int) -> None:
    data = sets(seed)
    whole = knn(*data, k=[1, 5], temperature=[0.07, 1.0])
    shuffled = torch.randperm(60, generator=torch.Generator().manual_seed(seed))
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(module, "_MATRIX", 60 * elements)
        patch.setattr(module, "_PIECE", 6 * elements)  # rows of the bank, of 6 features
        patch.setattr(module, "_QUERIES", 1 + elements // 2)
        parts = knn(
            data[0][shuffled], data[1][shuffled], *data[2:], k=[1, 5], temperature=[0.07, 1.0]
        )
    assert parts == whole


def test_the_coldest_votes_are_those_of_the_nearest() -> None:
    found = knn(*sets(), k=[1, 50], temperature=[1e-4])
    assert found[Setting(50, 1e-4)].top1 == found[Setting(1, 1e-4)].top1


def test_one_search_for_all_settings(monkeypatch: pytest.MonkeyPatch) -> None:
    calls = []
    original = module.nearest
    monkeypatch.setattr(module, "nearest", lambda *a: calls.append(a) or original(*a))
    assert len(knn(*sets(), k=[1, 2, 5, 20], temperature=[0.05, 0.07, 0.1])) == 12
    assert len(calls) == 1


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"k": [0]}, "k is"),
        ({"k": []}, "k is"),
        ({"temperature": [0.0]}, "temperature is"),
        ({"distance": "cosin"}, "choose one of cosine, euclidean"),
    ],
)
def test_impossible_settings(options: dict[str, Any], message: str) -> None:
    with pytest.raises(ValueError, match=message):
        knn(*sets(), **options)

# SPDX-License-Identifier: MIT
"""The mean over classes, by hand and against scikit-learn."""

from __future__ import annotations

import torch
from hypothesis import given
from hypothesis import strategies as st
from sklearn.metrics import balanced_accuracy_score

from mixmask_solo.host.builtin.per_class import MeanPerClass

CPU = torch.device("cpu")


def logits_of(predicted: list[int], classes: int) -> torch.Tensor:
    return torch.nn.functional.one_hot(torch.tensor(predicted), classes).float()


def test_every_class_counts_the_same() -> None:
    mean = MeanPerClass(4)
    mean.add(logits_of([0, 0, 0, 1], 4), torch.tensor([0, 0, 0, 2]))
    mean.add(logits_of([2, 3], 4), torch.tensor([2, -1]))  # one has no label
    # class 0: 3 of 3, class 2: 1 of 2, classes 1 and 3 have no image
    assert mean.compute(CPU) == 75.0
    assert mean.compute(CPU) is None  # it has started anew


@given(st.lists(st.tuples(st.integers(0, 4), st.integers(0, 4)), min_size=1, max_size=40))
def test_it_is_the_balanced_accuracy(pairs: list[tuple[int, int]]) -> None:
    truth, predicted = (list(side) for side in zip(*pairs, strict=True))
    mean, half = MeanPerClass(5), len(pairs) // 2
    for part in (slice(half), slice(half, None)):
        if truth[part]:
            mean.add(logits_of(predicted[part], 5), torch.tensor(truth[part]))
    hits = {y: [p == y for t, p in pairs if t == y] for y in set(truth)}
    by_hand = 100 * sum(sum(h) / len(h) for h in hits.values()) / len(hits)
    got = float(mean.compute(CPU))  # type: ignore[arg-type]
    assert abs(got - by_hand) < 1e-4
    if set(predicted) <= set(truth):  # it warns of classes that are only predicted
        assert abs(got - 100 * balanced_accuracy_score(truth, predicted)) < 1e-4

# SPDX-License-Identifier: MIT
"""Weighted k-NN against solo-learn's scores and accuracies."""

from __future__ import annotations

import pytest
import torch

from mixmask_solo.host.builtin import WeightedKNN, knn_accuracy, knn_scores

KEYS = ("train_features", "train_targets", "test_features", "test_targets")


@pytest.fixture
def data(golden):
    return {k: torch.from_numpy(v) for k, v in golden("solo_knn").items() if v.dtype.kind in "fi"}


@pytest.mark.parametrize("distance", ["cosine", "euclidean"])
@pytest.mark.parametrize(("k", "infix"), [(20, ""), (3, "_k3")])
@pytest.mark.parametrize("max_elements", [5_000_000, 240 * 7])
def test_parity(data, distance, k, infix, max_elements):
    train, train_targets, test, test_targets = (data[key] for key in KEYS)
    options = {"k": k, "distance": distance, "max_elements": max_elements}
    scores = knn_scores(train, train_targets, test, num_classes=10, **options)
    expected = data[f"{distance}{infix}_scores"].to(scores.dtype)
    torch.testing.assert_close(scores, expected, rtol=1e-6, atol=1e-6)
    top1, top5 = knn_accuracy(train, train_targets, test, test_targets, **options)
    assert top1 == pytest.approx(float(data[f"{distance}{infix}_top1"]), abs=1e-6)
    if f"{distance}{infix}_top5" in data:
        assert top5 == pytest.approx(float(data[f"{distance}{infix}_top5"]), abs=1e-6)


def test_metric_over_batches_ignores_unlabelled_samples(data):
    metric = WeightedKNN(k=20, distance="cosine")
    assert not metric.ready
    for part in range(4):
        rows = slice(part * 60, (part + 1) * 60)
        metric.update(data["train_features"][rows], data["train_targets"][rows])
        rows = slice(part * 20, (part + 1) * 20)
        metric.update(None, None, data["test_features"][rows], data["test_targets"][rows])
    unlabelled = data["test_features"][:5], torch.full((5,), -1)
    metric.update(*unlabelled, *unlabelled)
    assert metric.compute()[0] == pytest.approx(float(data["cosine_top1"]))
    metric.reset()
    assert not metric.ready
    assert not metric.state_dict()


def test_fewer_training_samples_than_neighbours(data):
    train, train_targets, test, test_targets = (data[key] for key in KEYS)
    few = knn_accuracy(train[:4], train_targets[:4], test, test_targets, k=20)
    assert 0 <= few[0] <= few[1] <= 100


def test_half_precision_features_are_compared_in_float32(data):
    train, train_targets, test, _ = (data[key] for key in KEYS)
    scores = knn_scores(train.half(), train_targets, test.half(), num_classes=10)
    assert scores.dtype == torch.float32


def test_unknown_distance(data):
    train, train_targets, test, _ = (data[key] for key in KEYS)
    with pytest.raises(ValueError, match=r"'manhattan': choose one of cosine, euclidean"):
        WeightedKNN(distance="manhattan")
    with pytest.raises(ValueError, match=r"'manhattan': choose one of cosine, euclidean"):
        knn_scores(train, train_targets, test, num_classes=10, distance="manhattan")

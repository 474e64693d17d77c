# SPDX-License-Identifier: MIT
"""The k-NN of a run, and the search under it, against solo-learn's scores and accuracies."""

from __future__ import annotations

import importlib.util
import math
from pathlib import Path

import pytest
import torch

from mixmask_solo.host import knn as module
from mixmask_solo.host.builtin import WeightedKNN
from mixmask_solo.host.knn import knn, nearest

KEYS = ("train_features", "train_targets", "test_features", "test_targets")
T = 0.07


@pytest.fixture
def data(golden):
    return {k: torch.from_numpy(v) for k, v in golden("solo_knn").items() if v.dtype.kind in "fi"}


@pytest.mark.parametrize("distance", ["cosine", "euclidean"])
@pytest.mark.parametrize(("k", "infix"), [(20, ""), (3, "_k3")])
@pytest.mark.parametrize("piece", [1 << 24, 1])
def test_parity(data, distance, k, infix, piece, monkeypatch):
    monkeypatch.setattr(module, "_PIECE", piece)  # with 1, pieces of k rows of the bank
    monkeypatch.setattr(module, "_MATRIX", 7 * piece)
    train, labels, test, _ = (data[key] for key in KEYS)
    near, index = nearest(test, [train], k, distance)
    votes = (near / T).exp() if distance == "cosine" else 1 / (1e-5 - near)
    scores = votes.new_zeros(len(test), 10).scatter_add_(1, labels[index], votes)
    expected = data[f"{distance}{infix}_scores"].to(scores.dtype)
    torch.testing.assert_close(scores, expected, rtol=1e-6, atol=1e-6)
    [found] = knn(*(data[x] for x in KEYS), k=[k], temperature=[T], distance=distance).values()
    assert found.top1 == pytest.approx(float(data[f"{distance}{infix}_top1"]), abs=1e-6)
    if f"{distance}{infix}_top5" in data:
        assert found.top5 == pytest.approx(float(data[f"{distance}{infix}_top5"]), abs=1e-6)


def fed(data, **options):
    metric = WeightedKNN(k=20, distance="cosine", **options)
    for part in range(4):
        rows = slice(part * 60, (part + 1) * 60)
        metric.update(data["train_features"][rows], data["train_targets"][rows])
        rows = slice(part * 20, (part + 1) * 20)
        metric.update(None, None, data["test_features"][rows], data["test_targets"][rows])
    return metric


@pytest.mark.parametrize("distance", ["cosine", "euclidean"])
def test_batches_of_a_run_without_labels_change_nothing(data, distance):
    metric = fed(data)
    metric.distance = distance
    unlabelled = data["test_features"][:5], torch.full((5,), -1)
    metric.update(*unlabelled, *unlabelled)
    found = metric.compute()
    assert found.top1 == pytest.approx(float(data[f"{distance}_top1"]))
    assert found.top5 == pytest.approx(float(data[f"{distance}_top5"]))
    assert not metric.train_features


def test_nothing_measured_is_no_accuracy(data):
    metric = WeightedKNN()
    assert math.isnan(metric.compute().top1)
    metric.update(data["train_features"], torch.full((240,), -1))
    metric.update(None, None, data["test_features"], data["test_targets"])
    assert math.isnan(metric.compute().top1)


@pytest.mark.parametrize("dtype", ["float16", "bfloat16"])
def test_a_bank_of_half_precision_on_the_host(data, dtype):
    metric = fed(data, dtype=dtype, device="cpu")
    assert metric.train_features[0].dtype == getattr(torch, dtype)
    assert metric.test_features[0].dtype == torch.float64
    assert metric.compute().top1 == pytest.approx(float(data["cosine_top1"]), abs=2.6)


def test_fewer_training_samples_than_neighbours(data):
    train, labels, test, targets = (data[key] for key in KEYS)
    [few] = knn(train[:4], labels[:4], test, targets, k=[20]).values()
    assert 0 <= few.top1 <= few.top5 <= 100


def test_half_precision_features_are_compared_in_float32(data):
    train, _, test, _ = (data[key] for key in KEYS)
    assert nearest(test.half(), [train.half()], 3, "cosine")[0].dtype == torch.float32


def test_labels_may_be_any_numbers_and_missing(data):
    """A class of number 10**9 needs no table of a thousand million columns."""
    train, labels, test, targets = (data[key] for key in KEYS)
    numbers = torch.tensor([10**9, 5, 7, 8, 9, 10, 11, 12, 13, 10**15])
    [plain] = knn(train, labels, test, targets).values()
    [odd] = knn(train, numbers[labels], test, numbers[targets]).values()
    assert odd == plain
    missing = torch.full((50,), -1)
    extended = torch.cat([test[:50], train]), torch.cat([missing, labels])
    [more] = knn(*extended, torch.cat([test, train[:50]]), torch.cat([targets, missing])).values()
    assert more == plain


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"distance": "manhattan"}, r"distance_func is 'manhattan': choose one of cosine, euc"),
        ({"dtype": "int8"}, r"bank_dtype is 'int8': choose one of float32, float16, bfloat16"),
        ({"device": "disk"}, r"bank_device is 'disk': choose one of device, cpu"),
    ],
)
def test_unknown_options(options, message):
    with pytest.raises(ValueError, match=message):
        WeightedKNN(**options)


def test_the_benchmark_compares_equals():
    path = Path(__file__).parents[2] / "benchmarks" / "knn.py"
    spec = importlib.util.spec_from_file_location("benchmark_knn", path)
    benchmark = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(benchmark)
    data = benchmark.features(700, 40)
    assert benchmark.in_rows(data) == benchmark.in_pieces(data)

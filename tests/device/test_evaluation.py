# SPDX-License-Identifier: MIT
"""Features and k-NN on a GPU: what waits there, and how often."""

from collections import Counter
from collections.abc import Iterator
from typing import Any

import pytest
import torch
from torch import nn

from mixmask_solo.evaluation.features import extract
from mixmask_solo.host.knn import knn
from support.fake_cuda import Watch, fake_gpu, to_gpu

pytestmark = pytest.mark.skipif(torch.cuda.is_available(), reason="a real GPU is here")

_BATCH, _BATCHES = 8, 5


class _Loader:
    """Un-augmented images with labels, on the GPU already."""

    dataset = range(_BATCH * _BATCHES)

    def __iter__(self) -> Iterator[Any]:
        for _ in range(_BATCHES):
            images = torch.rand(_BATCH, 3, 8, 8, device="cuda")
            yield [images, torch.zeros(_BATCH, dtype=torch.int64, device="cuda")]


@pytest.fixture
def network() -> nn.Module:
    return nn.Sequential(nn.Conv2d(3, 4, 3), nn.BatchNorm2d(4), nn.Flatten(), nn.Linear(144, 6))


@pytest.fixture
def gpu(network: nn.Module, monkeypatch: pytest.MonkeyPatch) -> Iterator[Watch]:
    with fake_gpu(monkeypatch) as watch:
        monkeypatch.setattr(nn.Module, "to", lambda self, *_, **__: to_gpu(self))
        yield watch


def test_features_that_stay_on_the_gpu(gpu: Watch, network: nn.Module) -> None:
    features, labels = extract(network, _Loader(), "cuda", kinds=("backbone", "pixels"))  # type: ignore[arg-type]
    assert features["backbone"].shape == (_BATCH * _BATCHES, 6)
    assert features["pixels"].shape == (_BATCH * _BATCHES, 192)
    assert {x.device.type for x in (*features.values(), labels)} == {"cuda"}
    once_each = Counter({("bool", "evaluation/features.py"): 2})  # are all of them finite?
    assert gpu.found == once_each


def test_features_that_are_kept_on_the_host(gpu: Watch, network: nn.Module) -> None:
    features, labels = extract(network, _Loader(), "cuda", home="cpu", keep=torch.float16)  # type: ignore[arg-type]
    assert (features["backbone"].device.type, labels.device.type) == ("cpu", "cuda")
    copies = ("copy to the host", "evaluation/features.py")
    assert gpu.found[copies] == _BATCHES  # a copy that does not wait would be read too early
    assert gpu.found.total() == _BATCHES + 1


@pytest.mark.parametrize("distance", ["cosine", "euclidean"])
@pytest.mark.parametrize(("home", "blocks"), [("cuda", 0), ("cpu", 1)])
def test_knn_waits_a_few_times_in_all(gpu: Watch, distance: str, home: str, blocks: int) -> None:
    """However many images; a bank on the host is copied for each block of 8,192 queries."""
    found = []
    for many in (100, 10_000):
        gpu.found.clear()
        bank = torch.rand(many, 6, device=home)
        labels = torch.zeros(many, dtype=torch.int64, device="cuda")
        queries = torch.rand(2 * many, 6, device="cuda")
        targets = torch.zeros(2 * many, dtype=torch.int64, device="cuda")
        knn(bank, labels, queries, targets, k=(5, 20), distance=distance)
        found.append(gpu.found.total())
    assert found[0] <= 12  # labels there are, and those without, are looked at once
    assert found[1] == found[0] + blocks

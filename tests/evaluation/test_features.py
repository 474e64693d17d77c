# SPDX-License-Identifier: MIT
"""Features in the order of the data."""

from __future__ import annotations

import pytest
import torch
from torch import Tensor, nn
from torch.utils.data import DataLoader, TensorDataset

from mixmask_solo.config import ConfigError
from mixmask_solo.evaluation.features import extract


def images(n: int = 7) -> tuple[Tensor, Tensor]:
    generator = torch.Generator().manual_seed(0)
    return torch.randn(n, 3, 4, 4, generator=generator), torch.arange(n) % 3


def loader(n: int = 7, batch_size: int = 3) -> DataLoader[tuple[Tensor, ...]]:
    return DataLoader(TensorDataset(*images(n)), batch_size=batch_size)


def network() -> nn.Module:
    torch.manual_seed(0)
    return nn.Sequential(
        nn.Conv2d(3, 5, 3), nn.BatchNorm2d(5), nn.AdaptiveAvgPool2d(1), nn.Flatten()
    )


class Method(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.backbone = network()
        self.projector = nn.Linear(5, 2)

    def forward(self, x: Tensor) -> dict[str, Tensor]:
        feats = self.backbone(x)
        return {"feats": feats, "z": self.projector(feats)}


@pytest.mark.parametrize("batch_size", [1, 3, 7, 50])
def test_rows_follow_the_data_whatever_the_batch(batch_size: int) -> None:
    model = network()
    found, labels = extract(model, loader(batch_size=batch_size), "cpu")
    x, y = images()
    with torch.no_grad():
        assert torch.allclose(found["backbone"], model.eval()(x), atol=1e-6)
    assert torch.equal(labels, y)
    assert found["backbone"].dtype == torch.float32


def test_running_statistics_stay_as_they_were() -> None:
    model = Method().train()
    statistics = model.backbone[1].running_mean.clone()
    extract(model, loader(), "cpu", kinds=("projector",))
    assert torch.equal(model.backbone[1].running_mean, statistics)


def test_one_pass_serves_all_kinds() -> None:
    model, passes = Method(), []
    model.backbone.register_forward_hook(lambda *_: passes.append(1))
    found, _ = extract(model, loader(), "cpu", kinds=("projector", "backbone", "pixels"))
    assert len(passes) == 3
    x, _ = images()
    with torch.no_grad():
        out = model.eval()(x)
    assert torch.allclose(found["projector"], out["z"], atol=1e-6)
    assert torch.allclose(found["backbone"], out["feats"], atol=1e-6)
    assert torch.equal(found["pixels"], x.flatten(1))


def test_features_can_be_trained_on() -> None:
    found, labels = extract(network(), loader(), "cpu")
    classifier = nn.Linear(5, 3)
    nn.functional.cross_entropy(classifier(found["backbone"]), labels).backward()
    assert classifier.weight.grad is not None


def test_a_sampler_may_take_a_part() -> None:
    part = DataLoader(TensorDataset(*images()), batch_size=2, sampler=[4, 1, 6])
    found, labels = extract(network(), part, "cpu", kinds=("pixels",))
    assert found["pixels"].shape == (3, 48)
    assert labels.tolist() == [1, 1, 0]


def test_no_images() -> None:
    with pytest.raises(ValueError, match="no image"):
        extract(network(), loader(0), "cpu")


def test_what_half_precision_cannot_hold_is_no_divergence() -> None:
    large = TensorDataset(torch.full((2, 1, 1, 1), 1e5), torch.zeros(2, dtype=torch.int64))
    with pytest.raises(ConfigError, match=r"more than float16 holds: .*float32") as caught:
        extract(nn.Flatten(), DataLoader(large), "cpu", keep=torch.float16)
    assert "diverge" not in str(caught.value)
    found, _ = extract(nn.Flatten(), DataLoader(large), "cpu")
    assert found["backbone"].tolist() == [[1e5], [1e5]]

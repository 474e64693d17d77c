# SPDX-License-Identifier: MIT
"""No accuracy is measured on weights or features that are not numbers."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
import torch
from omegaconf import OmegaConf
from torch import nn
from torch.utils.data import DataLoader, TensorDataset

from mixmask_solo.config import ConfigError
from mixmask_solo.evaluation.features import extract
from mixmask_solo.evaluation.run_knn import evaluate_knn
from mixmask_solo.runs.linear import linear


def damage(run_folder: Path, folder: Path, name: str, value: float) -> Path:
    """The run with one value of one tensor replaced."""
    content = torch.load(run_folder / "last.ckpt", weights_only=True)
    content["state_dict"][name].view(-1)[0] = value
    torch.save(content, folder / "last.ckpt")
    (folder / "args.json").write_bytes((run_folder / "args.json").read_bytes())
    return folder / "last.ckpt"


NAMES = ["backbone.layer2.0.conv1.weight", "backbone.bn1.running_var", "projector.2.bias"]


@pytest.mark.parametrize("value", [float("nan"), float("-inf")])
@pytest.mark.parametrize("name", NAMES)
def test_weights(name: str, value: float, tmp_path: Path, run_folder: Path) -> None:
    damage(run_folder, tmp_path, name, value)
    with pytest.raises(
        ConfigError, match=rf"last\.ckpt' holds NaN or infinity in {name}: .* earlier checkpoint"
    ) as error:
        evaluate_knn(tmp_path, baselines=True)
    assert "\n" not in str(error.value)


def test_weights_that_are_not_measured_do_not_matter(tmp_path: Path, run_folder: Path) -> None:
    path = damage(run_folder, tmp_path, "classifier.weight", float("nan"))
    assert evaluate_knn(path)["rows"] == evaluate_knn(run_folder)["rows"]


@pytest.mark.parametrize("features", ["cached", "augmented"])
def test_a_probe(features: str, tmp_path: Path, run_folder: Path) -> None:
    path = damage(run_folder, tmp_path, NAMES[0], float("inf"))
    cfg: dict[str, Any] = {
        "name": "probe",
        "pretrained_feature_extractor": str(path),
        "data": {"dataset": "digits", "num_workers": 0},
        "probe": {"features": features},
        "optimizer": {"name": "sgd", "batch_size": 64, "lr": 0.1},
        "scheduler": {"name": "none"},
        "checkpoint": {"enabled": True, "dir": str(tmp_path / "runs")},
        "max_epochs": 1,
        "accelerator": "cpu",
    }
    with pytest.raises(ConfigError, match=rf"last\.ckpt' holds NaN or infinity in {NAMES[0]}"):
        linear(OmegaConf.create(cfg))
    assert not (tmp_path / "runs").exists()


def test_features_that_overflow(tmp_path: Path, run_folder: Path) -> None:
    damage(run_folder, tmp_path, "projector.2.bias", 0.0)
    content = torch.load(tmp_path / "last.ckpt", weights_only=True)
    content["state_dict"]["projector.2.weight"].fill_(3e38)
    torch.save(content, tmp_path / "last.ckpt")
    with pytest.raises(ConfigError, match=r"projector features of \d+ of 1442 images hold NaN or"):
        evaluate_knn(tmp_path)


class Odd(nn.Module):
    """Some of the images give features that are no numbers."""

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        feats = x.flatten(1)
        return torch.where(feats[:, :1] > 3.5, feats / 0.0, feats)


def test_the_images_are_counted() -> None:
    x = torch.arange(1.0, 8.0).view(7, 1, 1, 1).expand(7, 3, 2, 2)
    loader = DataLoader(TensorDataset(x, torch.zeros(7, dtype=torch.int64)), batch_size=3)
    with pytest.raises(ConfigError, match=r"backbone features of 4 of 7 images hold NaN or inf"):
        extract(Odd(), loader, "cpu", kinds=("pixels", "backbone"))
    features, _ = extract(Odd(), loader, "cpu", kinds=("pixels",))
    assert features["pixels"].isfinite().all()
    broken = DataLoader(TensorDataset(x / 0, torch.zeros(7, dtype=torch.int64)), batch_size=3)
    with pytest.raises(ConfigError, match=r"pixels features of 7 of 7 images"):
        extract(nn.Flatten(), broken, "cpu", kinds=("pixels",))

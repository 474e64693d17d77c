# SPDX-License-Identifier: MIT
"""Images without a label, and processes without an image, whoever decodes."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
import torch

from mixmask_solo.config import ConfigError
from mixmask_solo.data import build_classification, build_pretrain
from mixmask_solo.data.labels import refusal
from mixmask_solo.data.sources import read

DECODERS = ["parquet", "resident", "dali"]


@pytest.fixture(params=DECODERS)
def block(request: pytest.FixtureRequest, tmp_path: Path, shard: Any) -> dict[str, Any]:
    """Six training images, one of them without label; three to validate, one without."""
    if request.param == "dali":
        pytest.importorskip("nvidia.dali")
    return {
        "dataset": "parquet",
        "format": request.param,
        "storage": "parquet",
        "train_path": str(shard(tmp_path / "train.parquet", [0, 1, -1, 1, 0, 1])),
        "val_path": str(shard(tmp_path / "val.parquet", [1, -1, 0], first=10)),
    }


def targets(loader: Any) -> list[int]:
    return torch.cat([y for _, y in loader]).tolist()


def test_a_probe_and_knn_see_labelled_images_alone(
    block: dict[str, Any], views_cfg: Callable[..., Any]
) -> None:
    """And k-NN's batches may be larger than the set."""
    data = build_classification(views_cfg(block, 100))
    assert [targets(loader) for loader in data.features_dataloaders()] == [[0, 1, 1, 0, 1], [1, 0]]
    assert data.train_labels == "all"
    with pytest.raises(ConfigError, match=r"batch_size is 100.* only 5 training images"):
        data.train_dataloader()


def test_pretraining_sees_all_and_validates_the_labelled(
    block: dict[str, Any], views_cfg: Callable[..., Any]
) -> None:
    data = build_pretrain(views_cfg(block, 6))
    [[_, _, labels]] = data.train_dataloader()
    assert sorted(labels.tolist()) == [-1, 0, 0, 1, 1, 1]
    assert targets(data.val_dataloader()) == [1, 0]
    assert data.train_labels == "some"


def test_a_process_without_images_joins_in_with_one_that_counts_nowhere(
    block: dict[str, Any], views_cfg: Callable[..., Any]
) -> None:
    for rank, expected in enumerate(([1], [0], [-1], [-1])):
        data = build_pretrain(views_cfg(block, 6))
        trainer: Any = SimpleNamespace(global_rank=rank, world_size=4, num_devices=4)
        data.trainer = trainer
        assert targets(data.val_dataloader()) == expected


def test_the_refusal_names_the_columns(tmp_path: Path, shard: Any) -> None:
    block = {"dataset": "parquet", "train_path": str(shard(tmp_path / "a.parquet", [-1, -1]))}
    found = read(block, "train")
    assert found is not None
    found.columns = ("image", "caption")
    told = str(refusal(found, "data.train_path", "a.parquet"))
    assert "data.train_path is 'a.parquet': none of its 2 images has a label" in told
    assert "its columns are image and caption" in told

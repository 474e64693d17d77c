# SPDX-License-Identifier: MIT
"""Health of checkpoints on disk: healthy, collapsed, foreign."""

from __future__ import annotations

import math
from pathlib import Path
from typing import Any

import pytest
import torch
from omegaconf import DictConfig
from PIL import Image

from mixmask_solo.config import ConfigError
from mixmask_solo.evaluation import run_health
from mixmask_solo.evaluation.health import embedding_std, rankme, uniformity
from mixmask_solo.evaluation.network import load_network
from mixmask_solo.evaluation.run_health import evaluate_health
from mixmask_solo.evaluation.run_knn import evaluation_data
from mixmask_solo.records.pretrained import read_pretrained

from .conftest import fresh_method, save_run


def by_features(found: dict[str, Any]) -> dict[str, dict[str, Any]]:
    return {row["features"]: row for row in found["rows"]}


def test_a_run_is_measured_on_its_validation_images(run_folder: Path) -> None:
    found = evaluate_health(run_folder, device="cpu", batch_size=64)
    rows = by_features(found)
    assert list(rows) == ["backbone", "projector"]
    assert found["images"] == found["ranked_images"] == 355
    assert found["pairs"] == 6 * (355 // 6)  # full batches, of 59 instead of 64
    assert "no_alignment" not in found
    pretrained = read_pretrained(run_folder)
    network: Any = load_network(pretrained, projector=True).eval()
    images = evaluation_data(pretrained, {}, 500)
    _, loader = images.features_dataloaders()
    with torch.no_grad():
        [z] = [network(x)["z"] for x, _ in loader]
    row = rows["projector"]
    assert row["dimension"] == row["highest_rank"] == z.shape[1] == 16
    for name, measure in (("rank", rankme), ("std", embedding_std), ("uniformity", uniformity)):
        assert row[name] == pytest.approx(float(measure(z)), rel=1e-3)
    assert row["even_std"] == 1 / math.sqrt(16)
    for row in rows.values():
        assert 0 < row["alignment"] < 4
    assert rows["backbone"]["highest_rank"] == 355


def test_it_says_the_same_twice_and_needs_no_batch_size(run_folder: Path) -> None:
    first, second = (evaluate_health(run_folder, device="cpu", batch_size=n) for n in (128, 128))
    assert first["rows"] == second["rows"]
    third = evaluate_health(run_folder, device="cpu", batch_size=355)
    for one, other in zip(first["rows"], third["rows"], strict=True):
        for name in ("rank", "std", "uniformity"):
            assert other[name] == pytest.approx(one[name], rel=1e-3)


def test_rank_is_of_a_bounded_number_of_images(
    run_folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(run_health, "MOST", 10)
    found = evaluate_health(run_folder, device="cpu")
    assert (found["images"], found["ranked_images"]) == (355, 10)
    for row in found["rows"]:
        assert row["rank"] <= row["highest_rank"] == 10


def test_a_collapse_is_named(pretrain_cfg: DictConfig, tmp_path: Path) -> None:
    state = fresh_method(pretrain_cfg).state_dict()
    for name in [name for name in state if name.startswith("projector.")]:
        if name.endswith("weight"):
            state[name] *= 1e-4
        if name.endswith("bias"):
            state[name] = torch.ones_like(state[name])
    save_run(tmp_path, pretrain_cfg, state)
    rows = by_features(evaluate_health(tmp_path, device="cpu"))
    assert rows["projector"]["verdict"] == "collapsed"
    assert rows["projector"]["rank"] == pytest.approx(1.0, abs=0.1)
    assert rows["projector"]["alignment"] == pytest.approx(0.0, abs=1e-4)
    assert rows["projector"]["uniformity"] == pytest.approx(0.0, abs=1e-4)


def test_mere_weights_have_no_projector_and_no_views(run_folder: Path, tmp_path: Path) -> None:
    state = torch.load(run_folder / "last.ckpt", weights_only=True)["state_dict"]
    inner = {k.removeprefix("backbone."): v for k, v in state.items() if k.startswith("backbone.")}
    torch.save({"state_dict": inner}, tmp_path / "weights.pth")
    with pytest.raises(ConfigError, match=r"data\.dataset is missing"):
        evaluate_health(tmp_path / "weights.pth", device="cpu")
    given = {"data": {"dataset": "digits", "num_workers": 0}, "backbone": {"name": "resnet10t"}}
    found = evaluate_health(tmp_path / "weights.pth", device="cpu", **given)  # type: ignore[arg-type]
    [row] = found["rows"]
    assert row["features"] == "backbone"
    assert row["alignment"] is None
    assert found["pairs"] == 0
    assert "does not say how" in found["no_alignment"]


def test_one_image_has_no_pairs(run_folder: Path, tmp_path: Path) -> None:
    (tmp_path / "class").mkdir()
    Image.new("RGB", (8, 8), "red").save(tmp_path / "class" / "one.png")
    data = {"dataset": "custom", "train_path": str(tmp_path), "val_path": str(tmp_path)}
    with pytest.raises(ConfigError, match=r"the validation images are 1: .* at least 2"):
        evaluate_health(run_folder, device="cpu", data=data)

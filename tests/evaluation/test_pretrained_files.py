# SPDX-License-Identifier: MIT
"""Finding and reading checkpoints of several origins."""

from __future__ import annotations

import json
import os
from pathlib import Path
from typing import Any

import pytest
import torch

from mixmask_solo.config import ConfigError
from mixmask_solo.records.checkpoints import META
from mixmask_solo.records.layout import backbone_layout
from mixmask_solo.records.pretrained import (
    START,
    Pretrained,
    find_checkpoint,
    read_pretrained,
)

W = torch.arange(3.0)


def names(state: dict[str, torch.Tensor], evaluate: str = "online") -> dict[str, str]:
    found = backbone_layout(state, evaluate)
    assert found is not None
    return found.names


@pytest.mark.parametrize("prefix", ["backbone.", "encoder.", "module.encoder_q.", "module.", ""])
def test_backbone_weights_of_every_origin(prefix: str) -> None:
    assert names({f"{prefix}conv1.weight": W}) == {"conv1.weight": f"{prefix}conv1.weight"}


def test_the_momentum_backbone_is_another_network() -> None:
    other = torch.zeros(3)
    state = {"momentum_backbone.a": other, "backbone.a": W, "projector.0.weight": other}
    assert names(state) == {"a": "backbone.a"}
    assert names(state, "momentum") == {"a": "momentum_backbone.a"}


def test_a_name_with_backbone_inside_is_left_alone() -> None:
    state = {"backbone.neck.backbone.a": W}
    assert names(state) == {"neck.backbone.a": "backbone.neck.backbone.a"}


def test_two_tensors_that_differ_in_a_wrapper_alone_both_stay() -> None:
    state = {"backbone.a": W, "backbone.module.a": W + 1}
    assert sorted(names(state).values()) == sorted(state)


def test_folder_means_last_then_newest(tmp_path: Path) -> None:
    for age, name in enumerate(["b.ckpt", "a.ckpt"]):
        (tmp_path / name).touch()
        os.utime(tmp_path / name, (1000 - age, 1000 - age))
    assert find_checkpoint(tmp_path).name == "b.ckpt"
    (tmp_path / "last.ckpt").touch()
    os.utime(tmp_path / "last.ckpt", (1, 1))
    assert find_checkpoint(tmp_path).name == "last.ckpt"


def test_folder_without_checkpoint(tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match=r"holds no \*\.ckpt"):
        find_checkpoint(tmp_path)


def test_plain_weights_and_lightning_alike(tmp_path: Path) -> None:
    torch.save({"a": W}, tmp_path / "plain.pth")
    torch.save({"state_dict": {"a": W}, "epoch": 3}, tmp_path / "lightning.ckpt")
    for name in ("plain.pth", "lightning.ckpt"):
        read = read_pretrained(tmp_path / name)
        assert torch.equal(read.state["a"], W)
        assert read.config == {}


def test_config_beside_the_checkpoint(run_folder: Path) -> None:
    read = read_pretrained(run_folder)
    assert read.config["backbone"]["name"] == "resnet10t"
    assert read.path == run_folder / "last.ckpt"


@pytest.mark.parametrize("content", [{}, {"state_dict": {}}, [1, 2], {"state_dict": {"a": 1}}])
def test_files_without_weights(content: object, tmp_path: Path) -> None:
    torch.save(content, tmp_path / "x.ckpt")
    with pytest.raises(ConfigError, match=r"x\.ckpt"):
        read_pretrained(tmp_path / "x.ckpt")


def test_a_path_that_is_not_there_lists_what_is(run_folder: Path) -> None:
    with pytest.raises(ConfigError, match=r"lost\.ckpt' does not exist.*holds last\.ckpt"):
        read_pretrained(run_folder / "lost.ckpt")


@pytest.mark.parametrize(
    ("config", "names", "said"),
    [
        (
            {START: "a.ckpt", "finetune": False},
            ["classifier.weight"],
            "a linear probe's: give what it",
        ),
        ({START: "a.ckpt", "detector": {}}, ["detector.box.weight"], "a detector's: give what it"),
        ({START: "a.ckpt"}, ["classifiers.0.weight"], "a linear probe's: give what it was made"),
        ({START: None, "detector": {}}, ["detector.x"], "a detector's: give a pretrained"),
        # another's file, in the folder of such a run: args.json is not of it
        ({START: None, "detector": {}}, ["encoder_q.conv1.weight"], None),
        ({START: "a.ckpt"}, ["conv1.weight", "fc.weight"], None),
        ({START: "a.ckpt", "finetune": True}, ["backbone.conv1.weight"], None),
        ({START: "a.ckpt"}, ["backbone.conv1.weight", "classifier.weight"], None),  # solo-learn's
    ],
)
def test_files_of_a_run_that_leaves_no_pretrained_network(
    config: dict[str, Any], names: list[str], said: str | None, tmp_path: Path
) -> None:
    content = {
        "state_dict": {k: torch.ones(1) for k in names},
        META: {"config": json.dumps(config)},
    }
    torch.save(content, tmp_path / "last.ckpt")
    if said is None:
        assert read_pretrained(tmp_path).config == config
        return
    with pytest.raises(ConfigError, match=rf"^checkpoint '.*last.ckpt' is {said}"):
        read_pretrained(tmp_path)


def test_statistics_of_a_pretrainings_views_or_of_a_fine_tunings_images() -> None:
    images = {"crop_size": 32, "mean": [0.1] * 3, "std": [0.2] * 3, "resize": 36}
    told = {key: images[key] for key in ("crop_size", "mean", "std")}
    for config in (
        {"augmentations": [{**images, "num_crops": 2}]},
        {"finetune": True, "data": {"augmentations": images}},
    ):
        assert Pretrained(Path("last.ckpt"), config, {}).view == told
    assert Pretrained(Path("last.ckpt"), {"data": {}}, {}).view == {}

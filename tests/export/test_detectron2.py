# SPDX-License-Identifier: MIT
"""The pickle against what MoCo's converter made of the same weights, and against Detectron2."""

from __future__ import annotations

import hashlib
import json
import pickle
from pathlib import Path
from typing import Any

import pytest
import torch
import torchvision
import yaml
from torch import nn

from mixmask_solo.export import recipe
from mixmask_solo.export.configs import render
from mixmask_solo.export.source import read_source
from mixmask_solo.export.targets.detectron2 import name_there
from mixmask_solo.export.write import Exported, export
from support.exported import moco_file, run_file

# Made by detection/convert-pretrain-to-detectron2.py of facebookresearch/moco (0d6137a; MixMask's
# copy of it converts alike) from moco_file's checkpoint: dtype, shape, start of the SHA-256.
GOLDEN = Path(__file__).parent / "golden" / "detectron2_resnet50.json"
PROJECTOR = "stem.fc."  # which that converter takes along, and Detectron2 leaves


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tmp_path_factory.mktemp("moco")


@pytest.fixture(scope="module")
def moco(folder: Path) -> Path:
    return moco_file(folder)


@pytest.fixture(scope="module")
def done(moco: Path) -> Exported:
    return export(moco, "detectron2", size=64)


def test_names_and_values_are_the_official_converters(done: Exported) -> None:
    with done.files[0].open("rb") as file:
        content = pickle.load(file)
    assert content.keys() == {"model", "__author__", "matching_heuristics"}
    assert content["matching_heuristics"] is True
    found = {
        k: [str(v.dtype), list(v.shape), hashlib.sha256(v.tobytes()).hexdigest()[:16]]
        for k, v in content["model"].items()
    }
    golden = json.loads(GOLDEN.read_text())
    left = {k: golden.pop(k) for k in list(golden) if k.startswith(PROJECTOR)}
    assert len(left) == 4
    assert found == golden
    assert len(found) == 318


def test_old_numpy_reads_it(done: Exported) -> None:
    content = done.files[0].read_bytes()
    assert b"numpy._core" not in content
    assert b"numpy.core" not in content


def test_configurations_lie_beside_it(done: Exported) -> None:
    pickle_, base, voc, once, twice, facts = done.files
    assert facts.name == "moco.pth.detectron2.pkl.json"
    shared = yaml.safe_load(base.read_text())
    model: Any = shared["MODEL"]
    assert model["WEIGHTS"] == str(pickle_)
    assert model["PIXEL_MEAN"] == pytest.approx([123.675, 116.28, 103.53])
    assert model["PIXEL_STD"] == pytest.approx([58.395, 57.12, 57.375])
    assert model["RESNETS"] == {"DEPTH": 50, "NORM": "SyncBN", "STRIDE_IN_1X1": False}
    assert model["BACKBONE"]["FREEZE_AT"] == 0
    assert (shared["SOLVER"]["IMS_PER_BATCH"], shared["SOLVER"]["BASE_LR"]) == (16, 0.02)
    assert "these are ImageNet's" in base.read_text()
    schedules = {
        path: (24_000, [18_000, 22_000]) if path == voc else (n * 90_000, [n * 60_000, n * 80_000])
        for path, n in ((voc, 0), (once, 1), (twice, 2))
    }
    for path, (length, steps) in schedules.items():
        own = yaml.safe_load(path.read_text())
        assert own["_BASE_"] == base.name
        assert (own["SOLVER"]["MAX_ITER"], own["SOLVER"]["STEPS"]) == (length, steps)
        assert own["MODEL"]["MASK_ON"] == (path != voc)
        sizes = own["INPUT"]["MIN_SIZE_TRAIN"]
        assert sizes == list(range(480 if path == voc else 640, 801, 32))


def test_a_runs_own_statistics_and_filter_are_told(tmp_path: Path) -> None:
    mscn = {"mscn": {"sigma": 2.0, "kernel": 5, "patch_size": 6}}
    run = run_file(tmp_path, "simclr", mscn, backbone={"name": "resnet50", "stem": "imagenet"})
    text = render("Base-RCNN-C4-BN.yaml", read_source(run), tmp_path / "a.pkl")
    assert yaml.safe_load(text)["MODEL"]["PIXEL_MEAN"] == pytest.approx([0.3052 * 255] * 3)
    assert "ImageNet" not in text
    assert "high_pass" in text


def test_basic_blocks_fit_into_no_c4_head(tmp_path: Path) -> None:
    done = export(moco_file(tmp_path, "resnet18"), "detectron2", size=64)
    assert [path.suffix for path in done.files] == [".pkl", ".json"]


@pytest.mark.parametrize("name", recipe.RESNETS)
def test_no_two_tensors_get_one_name(name: str) -> None:
    with torch.device("meta"):
        network = getattr(torchvision.models, name)()
    network.fc = nn.Identity()
    names = [name_there(own) for own in network.state_dict()]
    assert len(set(names)) == len(names)
    assert {n.partition(".")[0] for n in names} == {"stem", "res2", "res3", "res4", "res5"}


def test_detectron2_misses_nothing(done: Exported) -> None:
    pytest.importorskip("detectron2")
    model = recipe.run(done.lines)
    there = model.state_dict()
    for own, tensor in done.source.weights.items():
        if not own.endswith("num_batches_tracked"):
            assert torch.equal(there.pop(name_there(own)), tensor), own
    assert not [name for name in there if not name.endswith("num_batches_tracked")]

# SPDX-License-Identifier: MIT
"""mixmask-detect as a user types it, right and wrong."""

from __future__ import annotations

import json
import os
import sys
from pathlib import Path
from typing import Any

import pytest
import yaml
from omegaconf import OmegaConf
from PIL import Image

from mixmask_solo.cli import detect
from support.detection import detection_config, small_voc

pytest.importorskip("pycocotools")


@pytest.fixture
def recipe(tmp_path: Path) -> list[str]:
    """Arguments that name a file of a run of two steps."""
    root = str(small_voc(tmp_path / "voc"))
    data = {"format": "voc", "train_path": root, "val_path": root}
    data |= {"train_sets": ["train"], "val_sets": ["val"]}  # type: ignore[dict-item]
    cfg = detection_config(tmp_path, data, max_steps=2, scheduler={"milestones": [1]})
    hydra = {"output_subdir": None, "run": {"dir": "."}}
    content = {
        "defaults": ["_self_", {"override /hydra/job_logging": "disabled"}],
        "hydra": hydra,
        **OmegaConf.to_container(cfg),  # type: ignore[dict-item]
    }
    (tmp_path / "tiny.yaml").write_text(yaml.safe_dump(content, sort_keys=False))
    return ["--config-path", str(tmp_path), "--config-name", "tiny"]


def test_a_run_ends_with_one_line_a_result_and_a_picture(recipe: list[str], command: Any) -> None:
    done = command("detect", *recipe)
    assert done.returncode == 0, done.stderr
    [line] = done.stdout.strip().splitlines()
    assert line.startswith("completed: box AP ")
    assert "VOC AP " in line
    assert "Faster R-CNN (resnet10t, C4) from random weights" in done.stderr
    assert "2 steps, measured every 2, 2 images; sgd, learning rate 0.01" in done.stderr
    assert "step 2/2 in " in done.stderr
    folder = Path(line.rpartition(" -> ")[2])
    assert folder.parent.name == "detect"
    assert json.loads((folder / "result.json").read_text())["status"] == "completed"
    picture = Image.open(folder / "detections.png")
    assert picture.width > 500


def test_a_run_that_goes_on_has_a_picture_of_its_last_detections(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    drawn: list[Path] = []
    monkeypatch.setattr("mixmask_solo.report.detections.draw_detections", drawn.append)
    told = {"directory": str(tmp_path), "status": "completed"}
    monkeypatch.setattr("mixmask_solo.runs.detect.detect", lambda cfg: told)
    file, picture = tmp_path / "detections.json", tmp_path / "detections.png"
    detect.train(None)
    assert not drawn  # nothing was measured
    file.touch()
    picture.touch()
    os.utime(picture, ns=(2, 2))
    os.utime(file, ns=(1, 1))
    detect.train(None)
    assert not drawn
    os.utime(file, ns=(3, 3))
    detect.train(None)
    assert drawn == [file]


def test_wrong_keys_are_one_line_and_status_2(
    recipe: list[str], monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr(sys, "argv", ["mixmask-detect", *recipe, "max_steps=3", "eval_every=2"])
    with pytest.raises(SystemExit) as stop:
        detect.main()
    assert stop.value.code == 2
    [line] = capsys.readouterr().err.strip().splitlines()
    assert "eval_every is 2: it must divide max_steps (3)" in line


def test_a_key_of_other_commands_is_none_here(
    recipe: list[str], monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr(sys, "argv", ["mixmask-detect", *recipe, "max_epochs=3"])
    with pytest.raises(SystemExit) as stop:
        detect.main()
    assert stop.value.code == 2
    [line] = capsys.readouterr().err.strip().splitlines()
    assert line == "mixmask-detect: max_epochs: there is no such key (did you mean max_steps=3?)"


def test_help_loads_no_torch(command: Any) -> None:
    done = command("detect", "--help")
    assert done.returncode == 0
    assert "pretrained_feature_extractor" in done.stdout

# SPDX-License-Identifier: MIT
"""mixmask-health as a user types it, right and wrong."""

from __future__ import annotations

import json
import sys
from pathlib import Path
from typing import Any

import pytest
import timm
import torch

from mixmask_solo.cli import health


@pytest.fixture(scope="module")
def run(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A run whose method has no projector here, as solo-learn leaves it behind."""
    folder = tmp_path_factory.mktemp("run")
    torch.manual_seed(0)
    state = timm.create_model("resnet10t", num_classes=0).state_dict()
    torch.save({"state_dict": {f"backbone.{k}": v for k, v in state.items()}}, folder / "a.ckpt")
    config = {
        "method": "barlow_twins",
        "backbone": {"name": "resnet10t", "kwargs": {}},
        "data": {"dataset": "digits", "num_workers": 0, "num_large_crops": 2},
        "augmentations": [{"crop_size": 16, "num_crops": 2}],
    }
    (folder / "args.json").write_text(json.dumps(config))
    return folder


def call(monkeypatch: pytest.MonkeyPatch, *arguments: str) -> None:
    monkeypatch.setattr(sys, "argv", ["mixmask-health", *arguments])
    health.main()


def test_the_folder_of_a_run_is_enough(run: Path, command: Any) -> None:
    done = command("health", str(run))
    assert done.returncode == 0, done.stderr
    head, row, last = done.stdout.strip().splitlines()
    assert head.split()[:2] == ["features", "rank"]
    written = json.loads((run / "health.json").read_text())
    [told] = written["rows"]
    assert row.split()[:3] == ["backbone", f"{told['rank']:.1f}", "355"]
    assert f"{written['images']} images of digits" in last


def test_json_is_what_is_written(
    run: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    out = tmp_path / "deep" / "h.json"
    flags = "--json --num_workers 0 --batch_size 400 --device cpu"
    call(monkeypatch, str(run / "a.ckpt"), *flags.split(), "--out", str(out))
    assert json.loads(capsys.readouterr().out) == json.loads(out.read_text())


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ("", "the following arguments are required: CHECKPOINT|RUN"),
        ("lost", "checkpoint 'lost' does not exist"),
        ("{run} --datset digits", "did you mean --dataset?"),
        ("{run} --dataset cifr10", "did you mean cifar10?"),
        ("{run} --dataset cifar10", "--train_data_path is missing"),
        ("{run} --evaluate momentum", "set --evaluate=online"),
        ("{run} --device quantum", "--device is 'quantum'"),
        ("{run}/args.json", "cannot be read"),
        ("{empty}", "holds no *.ckpt"),
    ],
)
def test_wrong_input_is_one_line_and_status_2(
    arguments: str,
    message: str,
    run: Path,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    with pytest.raises(SystemExit) as stop:
        call(monkeypatch, *arguments.format(run=run, empty=tmp_path).split())
    assert stop.value.code == 2
    printed = capsys.readouterr()
    [line] = printed.err.strip().splitlines()
    assert line.startswith("mixmask-health: ")
    assert message in line
    assert not printed.out
    assert not list(tmp_path.iterdir())

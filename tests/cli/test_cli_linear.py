# SPDX-License-Identifier: MIT
"""mixmask-linear as a user types it, right and wrong."""

from __future__ import annotations

import json
import sys
from pathlib import Path
from typing import Any

import pytest
import timm
import torch

from mixmask_solo.cli import linear

ROOT = Path(__file__).parents[2]
DIGITS = ["--config-path", "scripts/linear/digits", "--config-name", "sgd"]


@pytest.fixture(scope="module")
def weights(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A file of mere weights of the network that the digits' YAML names."""
    path = tmp_path_factory.mktemp("weights") / "resnet10t.pth"
    torch.manual_seed(0)
    torch.save(timm.create_model("resnet10t", num_classes=0).state_dict(), path)
    return path


def test_a_probe_ends_with_one_line_and_a_result(
    weights: Path, tmp_path: Path, command: Any
) -> None:
    done = command(
        *("linear", *DIGITS, f"pretrained_feature_extractor={weights}"),
        *("max_epochs=2", "++limit_train_batches=2", "++probe.init=normal", "accelerator=cpu"),
        f"checkpoint.dir={tmp_path}",
    )
    assert done.returncode == 0, done.stderr
    [line] = done.stdout.strip().splitlines()
    assert line.startswith("completed: linear top-1 ")
    assert " in epoch " in line
    directory = Path(line.rpartition(" -> ")[2])
    assert directory.parent == tmp_path / "linear"
    result = json.loads((directory / "result.json").read_text())
    assert result["status"] == "completed"
    assert f"{result['metrics']['val_acc1']:.2f} %" in line
    assert (directory / "last.ckpt").is_file()


def test_heads_end_with_a_table_and_one_line(weights: Path, tmp_path: Path, command: Any) -> None:
    done = command(
        *("linear", *DIGITS, f"pretrained_feature_extractor={weights}", "max_epochs=1"),
        *("++limit_train_batches=2", "accelerator=cpu", f"checkpoint.dir={tmp_path}"),
        *("optimizer.lr=[0.1,1]", "optimizer.weight_decay=[0,1e-6]"),
    )
    assert done.returncode == 0, done.stderr
    head, *heads, line = done.stdout.strip().splitlines()
    assert head.split() == [
        "lr",
        "weight",
        "decay",
        "normalize",
        "held-out",
        "top-1",
        "top-1",
        "top-5",
        "loss",
    ]
    assert [row.split()[-7:-4] for row in heads] == [
        [lr, decay, "false"] for lr in ("0.1", "1") for decay in ("0", "1e-06")
    ]
    [chosen] = [row for row in heads if row.startswith("* head")]
    result = json.loads((Path(line.rpartition(" -> ")[2]) / "result.json").read_text())
    assert chosen.split()[2] == str(result["chosen"]["head"])
    assert line.startswith(f"completed: linear top-1 {chosen.split()[-3]} %, top-5 ")
    assert "best of 4 heads on 145 held-out training images" in line


@pytest.mark.parametrize(
    ("overrides", "message"),
    [
        (["pretrained_feature_extractor=lost.ckpt"], "'lost.ckpt' does not exist"),
        (["pretrained_feature_extractor={weights}", "backbone.name=resnet18"], "does not fit"),
        (["pretrained_feature_extractor={weights}", "evaluate=momentum"], "set evaluate=online"),
        (["pretrained_feature_extractor={weights}", "evaluate=teacher"], "evaluate is 'teacher'"),
        (
            ["pretrained_feature_extractor={weights}", "+backbone.kwargs.norm=x"],
            "backbone.kwargs.norm is 'x': resnet10t takes no argument of that name",
        ),
        (["pretrained_feature_extractor={weights}", "+probe.inits=x"], "did you mean init?"),
        (["pretrained_feature_extractor={weights}", "optimizer.name=sgdd"], "optimizer.name"),
        (["pretrained_feature_extractor={weights}", "optimizer.lr=0.1,1"], "which -m asks for"),
        (["pretrained_feature_extractor={weights}", "optimizer.lr=[]"], "lr is an empty list"),
        (["pretrained_feature_extractor={weights}", "optimiser.name=sgd"], "optimiser"),
        ([], "pretrained_feature_extractor"),
    ],
)
def test_wrong_configurations_are_one_line_and_status_2(
    overrides: list[str],
    message: str,
    weights: Path,
    monkeypatch: pytest.MonkeyPatch,
    capfd: pytest.CaptureFixture[str],
) -> None:
    monkeypatch.chdir(ROOT)
    given = [override.format(weights=weights) for override in overrides]
    monkeypatch.setattr(sys, "argv", ["mixmask-linear", *DIGITS, *given])
    monkeypatch.setenv("HYDRA_FULL_ERROR", "1")
    with pytest.raises(SystemExit) as stop:
        linear.main()
    assert stop.value.code == 2
    printed = capfd.readouterr()
    [line] = printed.err.strip().splitlines()
    assert line.startswith("mixmask-linear: ")
    assert message in line
    assert not printed.out


def test_help_says_how(monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> None:
    monkeypatch.setattr(sys, "argv", ["mixmask-linear", "--help"])
    with pytest.raises(SystemExit) as stop:
        linear.main()
    assert stop.value.code == 0
    assert "probe.features=cached" in capsys.readouterr().out

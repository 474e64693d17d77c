# SPDX-License-Identifier: MIT
"""mixmask-finetune as a user types it, right and wrong."""

from __future__ import annotations

import json
import sys
from pathlib import Path
from typing import Any

import pytest
import timm
import torch

from mixmask_solo.cli import finetune

ROOT = Path(__file__).parents[2]
DIGITS = ["--config-path", "scripts/finetune/digits", "--config-name", "sgd"]
SHORT = ["data.fraction=0.1", "max_epochs=1", "++limit_train_batches=1", "accelerator=cpu"]


@pytest.fixture(scope="module")
def weights(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A file of mere weights of the network that the digits' YAML names."""
    path = tmp_path_factory.mktemp("weights") / "resnet10t.pth"
    torch.manual_seed(0)
    torch.save(timm.create_model("resnet10t", num_classes=0).state_dict(), path)
    return path


@pytest.mark.parametrize(
    ("begin", "said"), [("{weights}", "fine-tuned top-1 "), ("null", "from scratch top-1 ")]
)
def test_a_run_ends_with_one_line_and_a_result(
    begin: str, said: str, weights: Path, tmp_path: Path, command: Any
) -> None:
    given = f"pretrained_feature_extractor={begin.format(weights=weights)}"
    done = command("finetune", *DIGITS, given, *SHORT, f"checkpoint.dir={tmp_path}")
    assert done.returncode == 0, done.stderr
    [line] = done.stdout.strip().splitlines()
    assert line.startswith(f"completed: {said}")
    assert " in epoch 1" in line
    banner = " ".join(done.stderr.split())  # whose lines are broken
    assert "learning rate 0.000625, the classifier's 0.03125, " in banner
    directory = Path(line.rpartition(" -> ")[2])
    assert directory.parent == tmp_path / "finetune"
    result = json.loads((directory / "result.json").read_text())
    assert result["from_scratch"] is (begin == "null")
    assert f"{result['metrics']['val_acc1']:.2f} %" in line
    assert (directory / "last.ckpt").is_file()


@pytest.mark.parametrize(
    ("overrides", "message"),
    [
        (["pretrained_feature_extractor=lost.ckpt"], "'lost.ckpt' does not exist"),
        (["pretrained_feature_extractor={weights}", "backbone.name=resnet18"], "does not fit"),
        (["pretrained_feature_extractor={weights}", "evaluate=momentum"], "set evaluate=online"),
        (["pretrained_feature_extractor=x.txt"], "or a checkpoint that ends in .ckpt, .pth"),
        (["pretrained_feature_extractor=null", "data.labels=1percent"], "set data.fraction=0.01"),
        (
            ["pretrained_feature_extractor=null", "data.labels=lost"],
            "no such file; choose 1per",
        ),
        (["pretrained_feature_extractor=null", "+optimizer.backbone_lr=1"], "unknown key"),
        (["pretrained_feature_extractor=null", "classifier_init=norma"], "did you mean normal?"),
        (
            [],
            "pretrained_feature_extractor is missing (???): give it a value, e.g. as an argument, "
            "pretrained_feature_extractor=trained_models/METHOD/NAME (a run's folder)",
        ),
        (
            ["pretrained_feature_extractor=null", "data.labels="],
            "data.labels is an empty text: give text",
        ),
        (
            [
                "pretrained_feature_extractor=null",
                "scheduler.name=step",
                "scheduler.lr_decay_steps=[]",
            ],
            "scheduler.lr_decay_steps is empty: step needs",
        ),
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
    monkeypatch.setattr(sys, "argv", ["mixmask-finetune", *DIGITS, *given])
    monkeypatch.setenv("HYDRA_FULL_ERROR", "1")
    with pytest.raises(SystemExit) as stop:
        finetune.main()
    assert stop.value.code == 2
    printed = capfd.readouterr()
    [line] = printed.err.strip().splitlines()
    assert line.startswith("mixmask-finetune: ")
    assert message in line
    assert not printed.out


def test_help_says_how(monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> None:
    monkeypatch.setattr(sys, "argv", ["mixmask-finetune", "--help"])
    with pytest.raises(SystemExit) as stop:
        finetune.main()
    assert stop.value.code == 0
    assert "data.labels=1percent" in capsys.readouterr().out

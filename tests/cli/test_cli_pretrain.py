# SPDX-License-Identifier: MIT
"""mixmask-pretrain as a user types it, right and wrong."""

from __future__ import annotations

import re
import shlex
import signal
import sys
import time
from pathlib import Path
from typing import Any

import pytest

from mixmask_solo.cli import pretrain
from mixmask_solo.cli.compose import hydra_value
from support.methods import NARROW_WORDS

ROOT = Path(__file__).parents[2]
DIGITS = ["--config-path", "scripts/pretrain/digits", "--config-name", "simclr_mixmask"]
SMALL = ["limit_train_batches=2", "limit_val_batches=1", "data.num_workers=0", *NARROW_WORDS]


def test_help_is_quick_and_says_how(command: Any) -> None:
    start = time.perf_counter()
    done = command("pretrain", "--help")
    assert done.returncode == 0
    assert "--config-path" in done.stdout
    assert "method_kwargs.mixmask" in done.stdout
    assert time.perf_counter() - start < 30  # a hang, not a speed: benchmarks/imports.py measures


def test_a_run_ends_with_one_line_and_a_result(tmp_path: Path, command: Any) -> None:
    done = command("pretrain", *DIGITS, *SMALL, "max_epochs=1", f"checkpoint.dir={tmp_path}")
    assert done.returncode == 0, done.stderr
    [line] = done.stdout.strip().splitlines()
    assert line.startswith("completed: ")
    assert "images/s" in line
    directory = Path(line.rpartition(" -> ")[2])
    assert (directory / "result.json").is_file()
    assert re.search(r"epoch 1/1 in .*λ .*img/s", done.stderr)


@pytest.mark.slow
def test_ctrl_c_saves_says_how_to_resume_and_resuming_finishes(
    tmp_path: Path, start: Any, command: Any
) -> None:
    folder = tmp_path / "it's 1=1, [a] {b} ${x}"
    arguments = [
        *DIGITS,
        *NARROW_WORDS,
        "data.num_workers=0",
        "limit_val_batches=1",
        "max_epochs=2",
    ]
    arguments += [f"checkpoint.dir={hydra_value(str(folder))}"]
    process = start("pretrain", *arguments)
    deadline = time.time() + 120
    while not list(folder.glob("simclr/*/args.json")) and time.time() < deadline:
        time.sleep(0.2)
    time.sleep(1.0)
    process.send_signal(signal.SIGINT)
    _, stderr = process.communicate(timeout=120)
    assert process.returncode == 130, stderr
    told = re.search(r"\(SIGINT\); saved (.+\.ckpt); to resume: mixmask-pretrain (.*)", stderr)
    assert told is not None, stderr
    assert "Traceback" not in stderr
    done = command("pretrain", *shlex.split(told[2]))  # as a shell would read what is pasted
    assert done.returncode == 0, done.stderr
    assert Path(told[1]).parent == Path(done.stdout.strip().rpartition(" -> ")[2])


@pytest.mark.slow
def test_two_processes_of_gloo(tmp_path: Path, command: Any) -> None:
    done = command(
        *("pretrain", *DIGITS, *SMALL, "max_epochs=1", "accelerator=cpu", "devices=2"),
        *("strategy=ddp", "optimizer.batch_size=16", f"checkpoint.dir={tmp_path}"),
    )
    assert done.returncode == 0, done.stderr
    assert len(list(tmp_path.glob("simclr/*"))) == 1


@pytest.mark.parametrize(
    ("arguments", "fragments"),
    [
        ([], ["--config-name"]),
        (["--config-path", "scripts/pretrain/digits"], ["--config-name"]),
        (["--config-path", "no/such", "--config-name", "x"], ["no/such", "no such folder"]),
        (
            ["--config-path", "scripts/pretrain/digits", "--config-name", "simclr_mixmsk"],
            ["simclr_mixmsk"],
        ),
        ([*DIGITS, "optimizer.lrr=1"], ["optimizer.lrr", "did you mean optimizer.lr=1?"]),
        ([*DIGITS, "+optimizer.lrr=1"], ["optimizer.lrr", "lr"]),
        ([*DIGITS, "+method_kwargs.mixmsk.grid_size=4"], ["method_kwargs.mixmsk", "mixmask"]),
        ([*DIGITS, "method_kwargs.mixmask.grid_size=64"], ["grid_size", "64", "32"]),
        ([*DIGITS, "optimizer.batch_size=1"], ["optimizer.batch_size", "1"]),
        ([*DIGITS, "data.dataset=image_folder", "+data.train_path=no/such"], ["no/such"]),
        ([*DIGITS, "backbone.name=resnet19"], ["backbone.name", "resnet19"]),
        (
            [*DIGITS, "+backbone.kwargs.drop_pth_rate=0.1"],
            ["backbone.kwargs.drop_pth_rate is 0.1: resnet10t takes no argument of that name"],
        ),
        ([*DIGITS, "max_epochs=two"], ["max_epochs", "two"]),
        (
            [*DIGITS, "+method_kwargs.erase.views=both"],
            ["method_kwargs.erase.targets is clean and views is both, but method is simclr: "],
        ),
        ([*DIGITS, "+resume_from_checkpoint=no.ckpt"], ["no.ckpt", "does not exist"]),
    ],
)
def test_mistakes_end_in_one_line_and_status_2(
    arguments: list[str],
    fragments: list[str],
    capsys: pytest.CaptureFixture[str],
    monkeypatch: pytest.MonkeyPatch,
    tmp_path: Path,
) -> None:
    monkeypatch.chdir(ROOT)
    before = set(ROOT.iterdir())
    if len(arguments) > 4:
        arguments = [*arguments, f"checkpoint.dir={tmp_path}"]
    monkeypatch.setattr(sys, "argv", ["mixmask-pretrain", *arguments])
    with pytest.raises(SystemExit) as stop:
        pretrain.main()
    assert stop.value.code == 2
    err = capsys.readouterr().err.strip()
    assert all(fragment in err for fragment in fragments), err
    if arguments:
        assert len(err.splitlines()) == 1, err
    assert "Traceback" not in err
    assert set(ROOT.iterdir()) == before
    assert not list(tmp_path.iterdir())

# SPDX-License-Identifier: MIT
"""What stands on a terminal of 80, 100 and 120 columns, and in a file."""

from __future__ import annotations

import re
from pathlib import Path
from typing import Any

import pytest

from support.methods import NARROW_WORDS
from support.terminal import Terminal

DIGITS = ["--config-path", "scripts/pretrain/digits", "--config-name", "simclr_mixmask"]
SMALL = ["data.num_workers=0", "optimizer.batch_size=32", *NARROW_WORDS]
BAR = r"━*╌* \d+/\d+ · (\d+:)?\d+:\d\d left · loss \d+\.\d{3}"


def drawn(lines: list[str], pattern: str) -> list[str]:
    return [line for line in lines if re.match(pattern, line)]


def test_at_80_columns_a_bar_is_whole_and_gone_before_a_message(tmp_path: Path) -> None:
    folder = f"checkpoint.dir={tmp_path}"
    with Terminal(80, "pretrain", *DIGITS, *SMALL, "max_epochs=50", folder) as terminal:
        terminal.wait_for(rf"^epoch 1/50 {BAR}")
        terminal.interrupt()
        assert terminal.end() == 130, terminal.lines
    lines = terminal.lines
    assert [line for line in lines if line.startswith("folder")], lines
    bars = drawn(lines, r"epoch 1/50 [━╌]")
    assert bars
    assert max(map(len, bars)) <= 80
    assert all(re.match(rf"epoch 1/50 {BAR}", bar) for bar in bars[1:])
    message = next(i for i, x in enumerate(lines) if x.startswith("mixmask-pretrain: interrupted"))
    assert not drawn(lines[message:], "epoch")


def test_at_100_columns_epochs_leave_lines_and_the_end_is_measured(tmp_path: Path) -> None:
    folder, few = (
        f"checkpoint.dir={tmp_path}",
        ["max_epochs=2", "optimizer.batch_size=256"],
    )
    with Terminal(100, "pretrain", *DIGITS, "data.num_workers=0", *few, folder) as terminal:
        assert terminal.end() == 0, terminal.lines
    lines = terminal.lines
    for epoch in (1, 2):
        [line] = set(drawn(lines, f"epoch {epoch}/2 in "))
        assert len(line) <= 100
        assert re.match(rf"epoch {epoch}/2 in \d:\d\d · loss \d+\.\d+ · online k-NN [\d.]+%", line)
    assert drawn(lines, r"k-NN, features [━╌]")
    closing = "".join(lines[-3:])
    assert re.search(r"completed: k-NN [\d.]+%, online k-NN [\d.]+%, .* -> ", closing)
    [run] = tmp_path.glob("simclr/*")
    with Terminal(120, "knn", "--pretrained_checkpoint_dir", str(run)) as terminal:
        assert terminal.end() == 0, terminal.lines
    bars = drawn(terminal.lines, r"features [━╌]{20} ")
    assert bars
    assert max(map(len, bars)) <= 120


def test_a_file_gets_the_same_lines_and_no_bars(tmp_path: Path, command: Any) -> None:
    small = [*SMALL, "limit_train_batches=2", "limit_val_batches=1", "max_epochs=2"]
    for columns in (80, 120):
        told = {"COLUMNS": str(columns)}
        done = command("pretrain", *DIGITS, *small, f"checkpoint.dir={tmp_path}", columns=columns)
        assert done.returncode == 0, done.stderr
        lines = done.stderr.splitlines()
        assert lines[0].startswith("run       simclr, resnet10t, ")
        epochs = drawn(lines, "epoch")
        assert len(epochs) == 2, told
        assert all(re.match(r"epoch \d/2 in 0:\d\d · loss \d+\.\d{3} · online", x) for x in epochs)
        assert max(map(len, epochs)) <= columns
        assert "\x1b" not in done.stderr


@pytest.mark.parametrize("seconds", [0.6, 1.5])
def test_ctrl_c_while_it_starts_is_one_line(seconds: float, start: Any, tmp_path: Path) -> None:
    import signal
    import time

    process = start("pretrain", *DIGITS, *SMALL, f"checkpoint.dir={tmp_path}")
    time.sleep(seconds)
    process.send_signal(signal.SIGINT)
    out, err = process.communicate(timeout=60)
    assert process.returncode == 130, err
    assert "Traceback" not in err, err
    assert not out
    assert not list(tmp_path.iterdir())

# SPDX-License-Identifier: MIT
"""One CSV file a run, every row of it in the file at once and none twice."""

from __future__ import annotations

import csv
from pathlib import Path

from hypothesis import given
from hypothesis import strategies as st

from mixmask_solo.runs.metrics_csv import MetricsCSV


def rows(folder: Path) -> list[dict[str, str]]:
    with (folder / "metrics.csv").open(newline="") as file:
        return list(csv.DictReader(file))


def log(logger: MetricsCSV, steps: range) -> None:
    for step in steps:
        logger.log_metrics({"loss_step": step / 7, "epoch": step // 3}, step)
        if step % 3 == 2:
            logger.log_metrics({"val_acc1": step * 1.0, "epoch": step // 3}, step)
            logger.log_metrics({"loss_epoch": step / 2, "epoch": step // 3}, step)


def test_a_row_is_in_the_file_at_once(tmp_path: Path) -> None:
    logger = MetricsCSV(tmp_path)
    logger.log_metrics({"loss": 0.5, "epoch": 0}, 0)
    assert rows(tmp_path) == [{"step": "0", "epoch": "0", "loss": "0.5"}]
    logger.log_metrics({"acc": 1.0, "epoch": 0}, 1)
    assert rows(tmp_path)[1] == {"step": "1", "epoch": "0", "loss": "", "acc": "1.0"}


def test_the_row_of_an_epoch_is_not_written_twice(tmp_path: Path) -> None:
    logger = MetricsCSV(tmp_path)
    for _ in range(2):
        logger.log_metrics({"loss_epoch": 0.5, "epoch": 0}, 2)
    resumed = MetricsCSV(tmp_path, first_step=3)
    resumed.log_metrics({"loss_epoch": 0.5, "epoch": 0}, 2)
    assert len(rows(tmp_path)) == 1


@given(killed=st.integers(0, 11), back=st.integers(0, 11), torn=st.integers(0, 20))
def test_killed_anywhere_and_resumed_from_any_checkpoint_it_is_the_same_file(
    tmp_path_factory, killed: int, back: int, torn: int
) -> None:
    straight, cut = tmp_path_factory.mktemp("a"), tmp_path_factory.mktemp("b")
    log(MetricsCSV(straight), range(12))
    log(MetricsCSV(cut), range(killed))
    path = cut / "metrics.csv"
    checkpoint = min(back, killed)
    if path.is_file() and checkpoint < killed:  # the row that was being written
        whole = path.read_bytes()
        path.write_bytes(whole + b"7,2,0.123456789,,1.5\n"[:torn])
    log(MetricsCSV(cut, first_step=checkpoint), range(checkpoint, 12))
    assert rows(cut) == rows(straight)
    assert path.read_bytes() == (straight / "metrics.csv").read_bytes()

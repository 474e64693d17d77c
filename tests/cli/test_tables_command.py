# SPDX-License-Identifier: MIT
"""``mixmask-tables`` as a user runs it: killed and started again, planned, submitted, misread."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest

from mixmask_solo.cli import tables
from support.tables import TEXT

COMMAND = [sys.executable, "-m", "mixmask_solo.cli.tables"]


@pytest.fixture
def table(tmp_path: Path) -> Path:
    """Two cells: SimCLR on digits without and with MixMask, by k-NN."""
    file = tmp_path / "two.yaml"
    quick = "overrides: [max_epochs=3, data.fraction=0.2, optimizer.batch_size=32]"
    lines = [line for line in TEXT.splitlines() if "linear" not in line]
    text = "\n".join(lines).replace("protocol: knn}", f"protocol: knn, {quick}}}")
    file.write_text(text.replace("[90, 95.5]", "[90]").replace("[91.25, null]", "[91]"))
    return file


def results(runs: Path) -> list[dict[str, object]]:
    return [json.loads(file.read_text()) for file in sorted(runs.rglob("result.json"))]


def test_killed_and_started_again_it_ends_with_both_cells(
    table: Path,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    runs = tmp_path / "runs"
    words = [str(table), "--runs", str(runs), "accelerator=cpu", "data.num_workers=0"]
    # the first checkpoint is there, two epochs are left
    first = subprocess.Popen([*COMMAND, "run", *words], start_new_session=True)
    wait_for(lambda: any(runs.rglob("last.ckpt")))
    [record] = results(runs)
    os.killpg(first.pid, signal.SIGKILL)
    os.kill(int(record["process"]["pid"]), signal.SIGKILL)  # type: ignore[index]
    first.wait()
    assert run_main(monkeypatch, "run", *words) == 0
    assert "2 of 2 runs done and measured; 2 started" in capsys.readouterr().out
    ended = results(runs)
    assert [run["status"] for run in ended] == ["completed", "completed"]
    pieces = sorted(len(run["pieces"]) for run in ended)  # type: ignore[arg-type]
    assert pieces == [1, 2]  # one was started once more, in its own folder
    assert run_main(monkeypatch, "run", *words) == 0
    assert "2 of 2 runs done and measured; 0 started" in capsys.readouterr().out
    assert run_main(monkeypatch, "show", table, "--runs", runs, "--format", "json") == 0
    shown = json.loads(capsys.readouterr().out)
    assert [cell["n"] for cell in shown["cells"]] == [1, 1]
    for cell, run in zip(shown["cells"], by_block(ended), strict=True):
        assert cell["mean"] == run["knn"]["acc1"]


def by_block(ended: list[dict[str, object]]) -> list[dict[str, dict[str, float]]]:
    """Without MixMask first."""
    order = lambda run: "mixmask" in run["config"]["method_kwargs"]  # noqa: E731
    return sorted(ended, key=order)  # type: ignore[arg-type, return-value]


def wait_for(ready: object, seconds: float = 120) -> None:
    end = time.monotonic() + seconds
    while not ready():  # type: ignore[operator]
        assert time.monotonic() < end
        time.sleep(0.05)


def run_main(monkeypatch: pytest.MonkeyPatch, *words: object) -> int:
    monkeypatch.setattr(sys, "argv", ["mixmask-tables", *map(str, words)])
    try:
        tables.main()
    except SystemExit as stop:
        return int(stop.code or 0)
    return 0


def test_a_plan_shares_runs_and_says_what_is_estimated(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    assert run_main(monkeypatch, "plan", "table1", "--datasets", "cifar100", "--json") == 0
    told = json.loads(capsys.readouterr().out)
    assert sum(len(run["cells"]) for run in told["runs"]) == 11
    assert len(told["runs"]) == 8  # grid 2, discrete, ratio 0.5 and the switch are one
    assert [(run["hours"], run["measured"]) for run in told["runs"]] == [(17.0, False)] * 8


def test_the_plans_of_tables_4_and_5_are_the_papers_cells(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    words = ("plan", "table4", "--seeds", "0,1", "--json")
    assert run_main(monkeypatch, *words) == 0
    runs = json.loads(capsys.readouterr().out)["runs"]
    wanted = [
        f"table4/{row}/{column}"
        for row in ("MoCo v2", "MSCN", "MixMask")
        for column in ("200 epochs", "800 epochs")
    ]
    assert [(run["seed"], *run["cells"]) for run in runs] == [
        (seed, cell) for cell in wanted for seed in (0, 1)
    ]
    assert all(f"max_epochs={200 if '200' in run['cells'][0] else 800}" in run["command"]
               for run in runs)  # fmt: skip
    assert run_main(monkeypatch, "plan", "table5", "--rows", "MixMask*", "--json") == 0
    runs = json.loads(capsys.readouterr().out)["runs"]
    columns = ("C-100 MoCo", "C-100 SimSiam", "C-100 BYOL", "C-100 SimCLR", "Tiny MoCo")
    columns += ("Tiny BYOL", "ImageNet-1K MoCo")
    assert [run["cells"] for run in runs] == [[f"table5/MixMask*/{c}"] for c in columns]


def test_the_commands_keep_the_global_batch_on_fewer_devices(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str], tmp_path: Path
) -> None:
    site = tmp_path / "site.yaml"
    site.write_text("all: [devices=2]\nimagenet: [data.train_path=/data/train]\n")
    words = ("plan", "table4", "--columns", "200 epochs", "--rows", "MixMask", "--commands")
    assert run_main(monkeypatch, *words, "--site", site) == 0
    train, probe = capsys.readouterr().out.strip().splitlines()
    assert "devices=2 data.train_path=/data/train ++optimizer.batch_size=128" in train
    assert "data.train_path=/data/train" in probe
    assert "pretrained_feature_extractor=RUN/last.ckpt" in probe


@pytest.mark.parametrize(
    ("words", "told"),
    [
        (("show", "tabel5"), "no table 'tabel5' (did you mean table5?)"),
        (("plan", "table5", "--datasets", "cifar"), "--datasets of table5 is 'cifar': choose"),
        (("plan", "table5", "--rows", "Unmix"), "--rows of table5 is 'Unmix'"),
        (("plan", "table5", "--seeds", "0,0"), "'0,0': give whole numbers, each once"),
        (("plan", "table5", "--seeds", "a"), "'a': give whole numbers"),
        (("plan", "table5", "--scale", "2"), "'2' is no share above 0, at most 1"),
        (("plan", "table5", "--site", "none.yaml"), "--site none.yaml cannot be read"),
        (("plan", "table5", "accelerator"), "'accelerator' is no override: give key=value"),
        (("run", "table4", "optimizer.lrr=3"), "cell table4/MoCo v2/200 epochs: optimizer.lrr"),
        (("run", "table4", "devices=3"), "global batch of 256 is not to be divided among 3"),
        (
            ("plan", "table4", "optimizer.lrr=3"),
            "no cell can be made: table4/MoCo v2/200 epochs: opt",
        ),
        (("run", "table4", "seed=3"), "seed=3: mixmask-tables sets seed itself, from --seeds"),
        (("run", "table4", "optimizer.batch_size=8"), "so that the global batch is the recipe's"),
        (("run", "table4", "max_epochs=7"), "max_epochs=7 for every run would make it another"),
        (("run", "table4"), "data.train_path is './datasets/imagenet/train', which is not there"),
        (("run", "table4", "--wait"), "--dry-run and --wait are for --slurm FILE"),
        (("run", "table4", "--slurm", "none.yaml"), "none.yaml"),
        (
            ("plan", "table4", "--site", "none.yaml"),
            "--site none.yaml cannot be read: No such file or directory",
        ),
        (("shw", "table4"), "invalid choice: 'shw'"),
    ],
)
def test_wrong_inputs_are_one_line(
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
    tmp_path: Path,
    words: tuple[str, ...],
    told: str,
) -> None:
    monkeypatch.setattr("mixmask_solo.tables.find._FOLDER", tables_folder())
    monkeypatch.chdir(tmp_path)
    assert run_main(monkeypatch, *words) == 2
    lines = capsys.readouterr().err.strip().splitlines()
    assert told in lines[-1]
    assert not list(tmp_path.iterdir())


def tables_folder() -> Path:
    return Path(__file__).parents[2] / "scripts" / "tables"

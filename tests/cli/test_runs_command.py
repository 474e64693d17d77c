# SPDX-License-Identifier: MIT
"""The command ``mixmask-runs``."""

from __future__ import annotations

import csv
import json
import re
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from mixmask_solo.cli import runs, runs_prune
from mixmask_solo.records.registry.record import read_run
from support.registry import alive, config, record, write_run

Command = Callable[..., tuple[Any, str, str]]
MIXED = {"method_kwargs": {"temperature": 0.2, "mixmask": {"grid_size": 2}}}
KNN = {"simclr": [96.0, 97.5, 95.25], "mixed": [98.0, 98.5]}
NONFINITE = "NonFiniteLoss: the loss is not finite in epoch 3\nsecond line"


@pytest.fixture
def command(monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> Command:
    """Status, stdout and stderr of one."""
    monkeypatch.delenv("COLUMNS", raising=False)

    def run(*arguments: object) -> tuple[Any, str, str]:
        monkeypatch.setattr(sys, "argv", ["mixmask-runs", *map(str, arguments)])
        status = 0
        try:
            runs.main()
        except SystemExit as stop:
            status = stop.code
        return (status, *capsys.readouterr())

    return run


@pytest.fixture
def root(tmp_path: Path) -> Path:
    """Five that are completed, seeds of two settings, and one of each other kind."""
    folder = tmp_path / "trained_models"
    for seed, knn in enumerate(KNN["simclr"]):
        content = record(knn=knn, seed=seed, config=config(seed=seed))
        write_run(folder / "simclr" / f"simclr-digits-seed-{seed}", content)
    for seed, knn in enumerate(KNN["mixed"]):
        content = record(knn=knn, seed=seed, config=config(seed=seed, **MIXED))
        write_run(folder / "simclr" / f"simclr-mixmask-digits-seed-{seed}", content)
    byol = config("byol")
    for status, more in {
        "running": alive(),
        "died": {"status": "running"},
        "interrupted": {},
        "failed": {"error": "RuntimeError: out of memory"},
        "diverged": {"status": "failed", "error": NONFINITE},
    }.items():
        content = {**record(status, config=byol, epochs=2), **more}
        write_run(folder / "byol" / f"byol-{status}", content)
    return folder


def names(out: str) -> list[str]:
    """Of the runs in a table."""
    return re.findall(r"(?:simclr|byol)-[\w-]+", out)


def test_ls_tells_each_state_from_the_others(command: Command, root: Path) -> None:
    status, out, err = command("ls", root)
    assert (status, err) == (0, "")
    lines = out.splitlines()
    assert lines[0].split() == [
        *("state", "name", "method", "mixed", "data", "epoch", "k-NN", "top-1", "age")
    ]
    states = {line.split()[1]: line.split()[0] for line in lines[1:-2]}
    assert {states[f"byol-{s}"] for s in ("running", "died")} == {"running", "died"}
    assert all(states[f"byol-{s}"] == s for s in ("interrupted", "failed", "diverged"))
    assert lines[-2].startswith("* online k-NN (val_knn_acc1)")
    told = "5 completed, 1 interrupted, 1 failed and 1 diverged"
    assert lines[-1] == f"10 runs: 1 running, 1 died, {told}"
    [line] = [line for line in lines if "mixmask-digits-seed-1" in line]
    assert line.split()[2:8] == ["simclr", "mixmask", "digits", "4/4", "98.50", "80.00"]
    [line] = [line for line in lines if "byol-failed" in line]
    assert line.split()[5:7] == ["2/4", "60.00*"]


def test_the_default_root(command: Command, root: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(root.parent)
    assert command("ls")[1] == command("ls", "trained_models")[1]
    monkeypatch.chdir(root / "simclr")
    assert command("ls")[1].splitlines()[-1] == "5 runs: 5 completed"


def test_filters_sorting_and_limits(command: Command, root: Path) -> None:
    _, out, _ = command("ls", "knn>=96", root, "--sort", "knn", "--limit", 2, "state=completed")
    assert names(out) == ["simclr-digits-seed-0", "simclr-digits-seed-1"]
    assert out.splitlines()[-1] == "4 runs: 4 completed, 2 shown"
    _, out, _ = command("ls", root, "--sort", "knn", "--reverse", "mixed=mixmask")
    assert names(out) == ["simclr-mixmask-digits-seed-1", "simclr-mixmask-digits-seed-0"]
    assert command("ls", root, "knn>99") == (0, "no run matches\n", "")


def test_columns(command: Command, root: Path) -> None:
    _, out, _ = command("ls", root, "mixed=mixmask", "--columns", "name,grid_size,val_loss")
    assert [line.split() for line in out.splitlines()[:2]] == [
        ["name", "grid_size", "val_loss"],
        ["simclr-mixmask-digits-seed-0", "2", "0.5"],
    ]
    _, out, _ = command("ls", root, "--add", "grid_size,seed")
    assert out.splitlines()[0].split()[-3:] == ["age", "grid_size", "seed"]


@pytest.mark.parametrize("width", [80, 100, 120, 200])
def test_a_narrow_terminal_loses_columns_but_no_figure(
    width: int, command: Command, root: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    long = "simclr-" + "long-" * 20 + "seed-0-20260101-000000-abcdef"
    write_run(root / long, record(knn=98.76))
    monkeypatch.setenv("COLUMNS", str(width))
    _, out, _ = command("ls", root)
    lines = out.splitlines()[:-2]
    assert max(map(len, lines)) <= width
    head = lines[0].split()
    order = ["epoch", "mixed", "top-1", "method", "data", "age"]
    there = [name in head for name in order]
    assert there == sorted(there, reverse=True)  # the last of these goes first
    [line] = [line for line in lines if "98.76" in line]
    assert "…" in line
    assert "-abcdef" in line
    assert "completed" in line
    assert ("4/4" in line) == ("epoch" in head)


def test_a_run_of_steps_is_told_in_steps(command: Command, tmp_path: Path) -> None:
    """A detector's, whose epochs are rounds between two measurements."""
    of = {"detector": {}, "max_steps": 24000, "eval_every": 1000, "max_epochs": 24}
    folder = write_run(tmp_path / "a", record("interrupted", config=of, steps=3000, epochs=3))
    assert "3,000/24,000 steps" in command("ls", tmp_path)[1]
    assert "3,000 of 24,000" in command("show", folder)[1]
    assert read_run(folder).length == ("steps", "3,000 of 24,000")
    assert read_run(folder).when(2) == "step 3,000"


def test_json_and_csv_hold_the_same(command: Command, root: Path) -> None:
    _, out, _ = command("ls", root, "--json")
    rows = json.loads(out)
    assert len(rows) == 10
    [one] = [row for row in rows if row["folder"].endswith("mixmask-digits-seed-0")]
    date = "2026-01-02T03:04:05+00:00"
    assert one == {
        **{"folder": str(root / "simclr" / "simclr-mixmask-digits-seed-0"), "state": "completed"},
        **{"method": "simclr", "mixed": ["mixmask"], "dataset": "digits", "epochs": 4},
        **{"max_epochs": 4, "knn": 98.0, "knn_kind": "evaluation", "acc1": 80.0, "date": date},
    }
    _, out, _ = command("ls", root, "--csv")
    lines = list(csv.DictReader(out.splitlines()))
    assert [line["folder"] for line in lines] == [row["folder"] for row in rows]
    assert [float(line["knn"]) for line in lines] == [row["knn"] for row in rows]


def test_a_torn_record_is_told_and_passed_over(command: Command, root: Path) -> None:
    torn = write_run(root / "torn", '{"status": "runn')
    status, out, err = command("ls", root)
    assert status == 0
    assert out.splitlines()[-1].startswith("10 runs")
    assert err.startswith(f"mixmask-runs: passed over: {torn / 'result.json'} cannot be read")
    assert err.count("\n") == 1


def test_best(command: Command, root: Path) -> None:
    folder = str(root / "simclr" / "simclr-mixmask-digits-seed-1")
    assert command("best", root, "--path") == (0, f"{folder}\n", "")
    _, out, _ = command("best", "val_loss", root, "--path")
    assert len(out.splitlines()) == 5  # all have the same
    _, out, _ = command("best", root, "--by", "mixed", "knn", "--json")
    assert [(row["mixed"], row["knn"]) for row in json.loads(out)] == [
        (["mixmask"], 98.5),
        ([], 97.5),
    ]
    _, out, _ = command("best", root, "--lowest", "--path")
    assert out.endswith("simclr-digits-seed-2\n")
    _, out, _ = command("best", "epochs", root, "method=byol", "--all")
    assert out.splitlines()[0].split() == ["epochs", "state", "folder"]
    assert len(out.splitlines()) == 6


def test_compare_agrees_with_numpy(command: Command, root: Path) -> None:
    status, out, err = command("compare", "--by", "mixed", root, "--metric", "knn", "--json")
    assert (status, err) == (0, "")
    for line, knn in zip(json.loads(out), (KNN["mixed"], KNN["simclr"]), strict=True):
        assert line["knn.n"] == line["runs"] == len(knn)
        assert line["knn.mean"] == pytest.approx(np.mean(knn))
        assert line["knn.std"] == pytest.approx(np.std(knn, ddof=1))
        assert (line["knn.min"], line["knn.max"]) == (min(knn), max(knn))
    _, out, _ = command("compare", "--by", "mixed", root, "--metric", "knn")
    assert out.splitlines()[1].split() == ["mixmask", "98.25", "±", "0.35", "2", "98.00", "98.50"]


def test_compare_warns_of_mixed_settings(command: Command, root: Path) -> None:
    status, out, err = command("compare", "--by", "method", root)
    assert status == 0
    assert len(out.splitlines()) == 2
    assert err.startswith("mixmask-runs: runs of one group differ in method_kwargs.mixmask, not")
    assert err.count("\n") == 1
    write_run(root / "without", record(config=config(seed=9)))
    _, _, err = command("compare", "--by", "mixed", root)
    assert "knn is the online one of 1 of 6 runs" in err


def test_show(command: Command, root: Path) -> None:
    folder = root / "byol" / "byol-diverged"
    (folder / "last.ckpt").write_bytes(b"x" * 2_000_000)
    best = {"val_acc1": {"value": 81.25, "epoch": 1}}
    pieces = [{"started": "then", "status": s, "steps": 5} for s in ("killed", "failed")]
    more = {"best_metrics": best, "pieces": pieces, "data_errors": 1, "damaged_images": ["x: cut"]}
    more["collapse"] = {"kind": "collapsed", "epoch": 1, "until": None, "std": 0.0}
    content = json.loads((folder / "result.json").read_text())
    write_run(folder, {**content, **more})
    _, out, _ = command("show", folder)
    lines = dict(re.findall(r"^(\S+)  +(.*)$", out, re.M))
    assert lines["state"] == "diverged"
    assert lines["error"] == NONFINITE.partition("\n")[0]
    assert lines["collapse"] == "collapsed from epoch 2 (a heuristic)"
    assert lines["command"] == "mixmask-pretrain a b"
    assert lines["checkpoint"] == "last.ckpt (2.0 MB)"
    assert lines["val_acc1"].split() == ["80.00", "4", "81.25", "2"]
    assert "killed" in out
    assert out.endswith("1 damaged images\nx: cut\n")
    _, out, _ = command("show", folder, "--json")
    told = json.loads(out)
    assert told["best_metrics"] == best  # from 0 there
    assert told["checkpoints"] == [{"file": "last.ckpt", "bytes": 2_000_000}]
    assert told["state"] == "diverged"


def test_diff(command: Command, root: Path) -> None:
    a = root / "simclr" / "simclr-digits-seed-0"
    workers = {"data": {"dataset": "digits", "num_workers": 3}}
    other = config(seed=1, init_from=None, **MIXED, **workers)
    b = write_run(root / "other", record(knn=97.0, config=other))
    _, out, _ = command("diff", a, b)
    settings, metrics = out.split("\n\n")[1:]
    assert [line.split() for line in settings.splitlines()] == [
        *(["A", "B"], ["seed", "0", "1"], ["method_kwargs.mixmask.grid_size", "-", "2"])
    ]
    assert metrics.splitlines()[-1].split() == ["knn.acc1", "96.00", "97.00", "1.00"]
    assert "data.num_workers" in command("diff", a, b, "--all")[1]
    _, out, _ = command("diff", a, b, "--json")
    assert json.loads(out)["config"] == {
        "seed": {"a": 0, "b": 1},
        "method_kwargs.mixmask.grid_size": {"a": None, "b": 2},
    }


def test_a_record_against_the_schema_is_one_line(command: Command, root: Path) -> None:
    folder = write_run(root / "odd", record(wall_seconds="long"))
    assert command("ls", root)[0] == 0
    status, _, err = command("show", folder)
    assert status == 2
    assert f"{folder / 'result.json'} is not as docs/results.md says" in err


def test_prune_asks_and_removes_what_was_asked_for(
    command: Command, root: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(runs_prune.sys.stdin, "isatty", lambda: True, raising=False)
    asked: list[str] = []

    def answer(question: str, say: str) -> str:
        asked.append(question)
        return say

    monkeypatch.setattr("builtins.input", lambda question: answer(question, "n"))
    words = ("prune", root, "--state", "failed", "--state", "died")
    _, out, _ = command(*words)
    assert re.fullmatch(r"remove 2 runs, [\d.]+ kB\? \[y/N\] ", asked[0])
    assert out.endswith("nothing was removed\n")
    monkeypatch.setattr("builtins.input", lambda question: answer(question, "y"))
    _, out, _ = command(*words)
    assert sorted(p.name for p in (root / "byol").iterdir()) == [
        *("byol-diverged", "byol-interrupted", "byol-running")
    ]
    assert re.search(r"removed 2 runs, [\d.]+ kB$", out)


def test_prune_never_touches_a_running_run(command: Command, root: Path) -> None:
    status, out, err = command("prune", "method=byol", root, "--yes")
    assert (status, err) == (0, "")
    assert "byol-running" not in out
    assert [p.name for p in (root / "byol").iterdir()] == ["byol-running"]
    assert len(list((root / "simclr").iterdir())) == 5
    assert command("prune", "state=running", root, "--yes")[1].startswith("nothing to remove")


WRONG = [
    (["ls", "{root}", "--columns", "name,grid_sise"], "did you mean grid_size?"),
    (["ls", "{root}", "--sort", "vall_loss"], "did you mean val_loss?"),
    (["ls", "{root}", "{root}"], "are the same folder: give it once"),
    (["ls", "{root}/nowhere"], "there is no such folder"),
    (["ls", "{root}", "method>3"], "method>3: method is text"),
    (["ls", "{root}", "=3"], "is no filter"),
    (["ls", "{root}", "--limit", "0"], "no whole number of at least 1"),
    (["ls", "{root}", "--jsno"], "did you mean --json?"),
    (["lst", "{root}"], "did you mean ls?"),
    (["best", "{root}", "knm"], "did you mean knn?"),
    (["best", "{root}", "method"], 'method is no metric: "simclr" for one'),
    (["best", "{root}", "knn", "state=failed"], "no completed run that was asked for has knn"),
    (["show", "{root}"], "is no run: it has no result.json"),
    (["diff", "{root}/byol/byol-died", "{root}/byol/byol-died"], "are the same run: give two"),
    (["compare", "{root}"], "required: --by"),
    (["compare", "{root}", "--by", "seed", "method=byol"], "no completed run was asked for"),
    (["prune", "{root}"], "say which runs"),
    (["prune", "{root}", "state=failed"], "nobody can be asked here: --yes"),
    (["prune", "{root}", "--state", "running"], "invalid choice: 'running'"),
]


@pytest.mark.parametrize(("arguments", "line"), WRONG)
def test_wrong_input_is_one_line_and_status_2(
    arguments: list[str], line: str, command: Command, root: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(runs_prune.sys.stdin, "isatty", lambda: False, raising=False)
    status, _, err = command(*(word.format(root=root) for word in arguments))
    assert status == 2
    assert line in err
    assert err.count("\n") == 1
    assert len(list((root / "byol").iterdir())) == 5


def test_a_closed_pipe_and_no_torch(root: Path) -> None:
    """One process as a user's: what it prints is plain, and a reader that leaves is no error."""
    code = (
        "import sys; from mixmask_solo.cli.runs import main; main(); "
        "print([m for m in ('torch', 'lightning', 'hydra', 'numpy') if m in sys.modules])"
    )
    run = [sys.executable, "-c", code, "ls", str(root), "--csv"]
    done = subprocess.run(run, capture_output=True, text=True, check=True)
    assert done.stdout.splitlines()[-1] == "[]"
    assert "\x1b" not in done.stdout
    process = subprocess.Popen(run, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True)
    assert process.stdout
    process.stdout.close()
    assert process.stderr
    assert process.stderr.read() == ""
    assert process.wait() == 141

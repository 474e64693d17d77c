# SPDX-License-Identifier: MIT
"""The command ``mixmask-report``, and the page that a run leaves behind."""

from __future__ import annotations

import signal
import sys
import urllib.request
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from mixmask_solo.cli import report, run_report
from mixmask_solo.report.page.render import Samples
from support.pages import Parsed, run_folder


@pytest.fixture
def command(monkeypatch: pytest.MonkeyPatch) -> Callable[..., int]:
    """Runs it here; returns its exit status."""

    def run(*arguments: object) -> int:
        monkeypatch.setattr(sys, "argv", ["mixmask-report", *map(str, arguments)])
        try:
            report.main()
        except SystemExit as stop:
            return int(stop.code or 0)
        return 0

    return run


def test_a_page_is_written_where_it_is_wanted(command, capsys, tmp_path: Path) -> None:
    out = tmp_path / "new" / "page.html"
    assert command(run_folder(tmp_path / "a"), "--no-samples", "--out", out) == 0
    assert capsys.readouterr().out == f"wrote {out}\n"
    assert "k-NN 81.00 %" in Parsed(out.read_text()).text
    assert [p.name for p in out.parent.iterdir()] == ["page.html"]


def test_samples_that_cannot_be_drawn_are_a_line(command, tmp_path: Path) -> None:
    out = tmp_path / "page.html"
    assert command(run_folder(tmp_path / "a"), "--out", out) == 0  # its optimizer is no optimizer
    assert "Not drawn, the images or what masks them are not at hand: " in out.read_text()


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        (["{run}", "{run}"], "is given twice: give each run once"),
        (["{tmp}/no"], "is no run: it has no result.json"),
        (["{tmp}/torn"], "torn/result.json cannot be read"),
        (["{run}", "--out", "{tmp}"], "is a folder: give a file"),
        (["{run}", "--no-samples", "--out", "{run}/result.json/x"], "x cannot be written: "),
        (["{run}", "--port", "1"], "--port is for --watch"),
        (["{run}", "--watch", "--port", "70000"], "'70000' is no port: give 0 to 65535"),
        (["{run}", "--watch", "--out", "x"], "--watch serves the page and writes none"),
        (["{run}", "--wach"], "did you mean --watch?"),
        ([], "RUN"),
    ],
)
def test_wrong_input_is_one_line(
    command, capsys, tmp_path: Path, arguments: list[str], said: str
) -> None:
    run = run_folder(tmp_path / "run")
    torn = run_folder(tmp_path / "torn")
    (torn / "result.json").write_text('{"status": "comp')
    assert command(*(a.format(run=run, tmp=tmp_path) for a in arguments)) == 2
    out, err = capsys.readouterr()
    assert said in err
    assert (out, err.count("\n")) == ("", 1)


DAMAGED: list[dict[str, Any]] = [
    {"wall_seconds": "x"},
    {"images_per_second": "x"},
    {"steps": "x"},
    {"pieces": [1]},
    {"pieces": 1},
    {"data": "x"},
    {"knn": {"k": 1}},
    {"learning_rates": [1]},
    {"metrics": {"val_acc1": "x"}},
    {"metrics": {"val_acc1": None}},
    {"best_metrics": {"val_acc1": 1}},
    {"earlier_metrics": {"val_acc1": 1}, "metrics": {}},
    {"data": {"train": 1}},
    {"provenance": {"overrides": [1]}},
    {"versions": {"torch": [1]}, "provenance": {"commit": 1}},
    {"config": {"method": "simclr", "optimizer": "x"}},
    {"config": {"method": ["x"], "method_kwargs": "x"}},
    {"wall_seconds": float("nan")},
]


@pytest.mark.parametrize("more", DAMAGED, ids=str)
@pytest.mark.parametrize("arguments", [[], ["--no-samples"]], ids=["samples", "plain"])
def test_a_damaged_record_is_one_line(
    command, capsys, tmp_path: Path, monkeypatch, more: dict[str, Any], arguments: list[str]
) -> None:
    monkeypatch.setattr(report, "_draw", lambda: lambda record: Samples("", note="not drawn"))
    damaged = run_folder(tmp_path / "damaged", **more)
    out = tmp_path / "page.html"
    status = command(run_folder(tmp_path / "run"), damaged, *arguments, "--out", out)
    err = capsys.readouterr().err
    assert status == 2
    assert f"{damaged}/result.json is not as docs/results.md says: " in err
    assert err.count("\n") == 1
    assert not out.exists()


def test_what_the_papers_cells_are_told_by_is_named_too(
    command, capsys, tmp_path: Path, monkeypatch
) -> None:
    monkeypatch.setattr(report, "_draw", lambda: lambda record: Samples("", note="not drawn"))
    run = run_folder(tmp_path / "a", config={"method": "simclr", "data": "x"})
    assert command(run, "--out", tmp_path / "page.html") == 2
    err = capsys.readouterr().err
    assert err.startswith(f"mixmask-report: {run}/result.json is not as docs/results.md says: ")
    assert err.count("\n") == 1


def test_null_is_as_good_as_nothing(command, tmp_path: Path) -> None:
    keys = (
        *("best_metrics", "earlier_metrics", "metrics", "metrics_epoch", "knn", "pieces", "data"),
        *("learning_rates", "provenance", "versions", "wall_seconds", "images_per_second"),
        *("steps", "processes", "error", "host"),
    )
    for key in (*keys, None):
        more = dict.fromkeys(keys) if key is None else {key: None}
        run = run_folder(tmp_path / str(key), **more)
        assert command(run, "--no-samples", "--out", tmp_path / "page.html") == 0, key


def test_a_live_page_ends_with_ctrl_c(start: Callable[..., Any], tmp_path: Path) -> None:
    process = start("report", str(run_folder(tmp_path / "a")), "--watch", "--no-samples")
    url = process.stdout.readline().split()[0]
    assert url.startswith("http://127.0.0.1:")
    with urllib.request.urlopen(url, timeout=20) as answer:
        assert b"simclr-mixmask" in answer.read()
    process.send_signal(signal.SIGINT)
    out, err = process.communicate(timeout=20)
    assert (out, err) == ("", "mixmask-report: interrupted (SIGINT)\n")
    assert process.returncode == 130


def test_whatever_goes_wrong_is_a_warning(tmp_path: Path, caplog, monkeypatch) -> None:
    run_report.write_report(tmp_path)
    assert "report.html was not written: " in caplog.text
    assert "is no run" in caplog.text
    caplog.clear()

    def stop(*_: object) -> None:
        raise KeyboardInterrupt

    monkeypatch.setattr("mixmask_solo.report.page.data.read", stop)
    run_report.write_report(tmp_path)
    assert "report.html was not written: KeyboardInterrupt" in caplog.text


def test_the_page_of_an_interrupted_run_has_no_pictures(tmp_path: Path) -> None:
    folder = run_folder(tmp_path / "a", status="interrupted")
    run_report.write_report(folder)
    said = Parsed((folder / "report.html").read_text()).text
    assert "Left out when a run is interrupted; mixmask-report draws them." in said

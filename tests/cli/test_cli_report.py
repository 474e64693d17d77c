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

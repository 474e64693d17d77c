# SPDX-License-Identifier: MIT
"""Two that run the same table on one machine train each run once."""

from __future__ import annotations

import threading
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
from filelock import FileLock

from mixmask_solo.cli import table_run


def test_the_second_waits_and_finds_the_run_done(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr(table_run, "_POLL", 0.05)
    (tmp_path / ".tables").mkdir()
    first = FileLock(tmp_path / ".tables" / "a-run", thread_local=False)
    first.acquire()
    looked: list[bool] = []

    def missing(*_: Any) -> list[Any]:
        looked.append(first.is_locked)
        return []  # by then it is done

    monkeypatch.setattr(table_run, "missing", missing)
    threading.Timer(0.3, first.release).start()
    local = table_run.LocalRuns("mixmask-tables", tmp_path, lambda: None)  # type: ignore[arg-type, return-value]
    training: Any = SimpleNamespace(key="a-run", label="cifar/mocov2 seed=0")
    assert local.run([training]) == 0
    assert looked == [False]  # not before the first let it go
    assert local.started == 0
    assert capsys.readouterr().err.count("another mixmask-tables is at it; waiting") == 1

# SPDX-License-Identifier: MIT
"""The index is nothing but a memory: with it and without it the same runs are found."""

from __future__ import annotations

import os
import shutil
import sqlite3
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from mixmask_solo.config import ConfigError
from mixmask_solo.records.registry import index, read
from mixmask_solo.records.registry.read import read_root, read_rows
from mixmask_solo.records.registry.record import RunRecord
from mixmask_solo.records.registry.scan import scan
from support.registry import PAST, record, write_run


def told(root: Path) -> dict[str, dict[str, Any]]:
    """Every run and all it holds."""
    rows, _ = read_root(root)
    return {str(row.folder): {key: row.get(key) for key in row.keys.place} for row in rows}


def fresh(root: Path) -> dict[str, dict[str, Any]]:
    """The same, without the index that is there."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(index, "load", lambda root: {})
        patch.setattr(index, "save", lambda *_: None)
        return told(root)


def reads(monkeypatch: pytest.MonkeyPatch) -> list[Path]:
    """Appends the folder of each ``result.json`` that is opened."""
    seen: list[Path] = []
    original = read.read_run

    def spy(folder: Path) -> RunRecord:
        seen.append(folder)
        return original(folder)

    monkeypatch.setattr(read, "read_run", spy)
    return seen


def test_runs_are_found_wherever_they_lie_and_nothing_else(tmp_path: Path) -> None:
    write_run(tmp_path / "simclr" / "a")
    write_run(tmp_path / "linear" / "b")
    write_run(tmp_path / "simclr" / "a" / "inner")  # a run's folder holds no runs
    write_run(tmp_path / ".hidden" / "c")
    (tmp_path / "link").symlink_to(tmp_path / "simclr", target_is_directory=True)
    (tmp_path / "loop").symlink_to(tmp_path, target_is_directory=True)
    (tmp_path / "empty").mkdir()
    (tmp_path / "odd" / "result.json").mkdir(parents=True)
    assert sorted(folder for folder, _ in scan(tmp_path)) == ["linear/b", "simclr/a"]
    assert [folder for folder, _ in scan(tmp_path / "simclr" / "a")] == ["."]


def test_what_did_not_change_is_not_read_again(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    write_run(tmp_path / "a")
    write_run(tmp_path / "b")
    first = told(tmp_path)
    seen = reads(monkeypatch)
    assert told(tmp_path) == first
    assert not seen
    write_run(tmp_path / "b", record(epochs=3), at=PAST + 1)
    assert told(tmp_path)[str(tmp_path / "b")]["epochs"] == 3
    assert seen == [tmp_path / "b"]


def test_a_file_of_this_moment_is_read_again(tmp_path: Path) -> None:
    """It may change twice within one tick of the clock, and keep its size."""
    now = os.stat(tmp_path).st_mtime_ns // 10**9
    write_run(tmp_path / "a", record(epochs=3), at=now)
    assert told(tmp_path)[str(tmp_path / "a")]["epochs"] == 3
    write_run(tmp_path / "a", record(epochs=4), at=now)
    assert told(tmp_path)[str(tmp_path / "a")]["epochs"] == 4


CHANGES = st.lists(
    st.one_of(
        st.tuples(st.just("write"), st.sampled_from("abc"), st.integers(0, 9)),
        st.tuples(st.just("tear"), st.sampled_from("abc"), st.integers(0, 9)),
        st.tuples(st.just("remove"), st.sampled_from("abc"), st.just(0)),
        st.tuples(st.just("move"), st.sampled_from("abc"), st.just(0)),
        st.tuples(st.just("look"), st.just(""), st.just(0)),
        st.tuples(st.just("spoil"), st.just(""), st.integers(0, 5000)),
    ),
    max_size=12,
)


@given(changes=CHANGES)
def test_the_index_equals_a_fresh_look_after_any_changes(
    changes: list[tuple[str, str, int]], tmp_path_factory: pytest.TempPathFactory
) -> None:
    root = tmp_path_factory.mktemp("runs")
    for at, (what, name, number) in enumerate(changes, start=PAST):
        folder = root / name
        if what == "write":
            write_run(folder, record(epochs=number), at=at)
        elif what == "tear":
            write_run(folder, '{"status": "comp' + "x" * number, at=at)
        elif what == "remove":
            shutil.rmtree(folder, ignore_errors=True)
        elif what == "move" and folder.is_dir():
            folder.rename(root / f"{name}-{at}")
        elif what == "look":
            assert told(root) == fresh(root)
        elif what == "spoil":
            (root / index.INDEX).write_bytes(b"SQLite format 3\0"[: number % 20] + b"?" * number)
    assert told(root) == fresh(root)
    assert told(root) == fresh(root)  # and now out of the index


def test_an_index_of_another_version_is_built_anew(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    write_run(tmp_path / "a")
    before = told(tmp_path)
    with sqlite3.connect(tmp_path / index.INDEX) as base:
        base.execute("PRAGMA user_version = 99")
        base.execute("DROP TABLE keys")
        base.execute("CREATE TABLE others (x)")
    assert told(tmp_path) == before
    seen = reads(monkeypatch)
    assert told(tmp_path) == before
    assert not seen


def test_a_cut_index_is_thrown_away(tmp_path: Path) -> None:
    for i in range(40):
        write_run(tmp_path / f"run-{i}")
    before, file = told(tmp_path), tmp_path / index.INDEX
    whole = file.read_bytes()
    for end in (0, 50, 4096, 5000, len(whole) - 100):
        file.write_bytes(whole[:end])
        assert told(tmp_path) == before
        assert told(tmp_path) == before


def test_without_room_for_an_index_the_runs_are_read(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    write_run(tmp_path / "a")
    monkeypatch.setattr(index, "INDEX", "no/such/folder/index")
    assert len(told(tmp_path)) == 1
    monkeypatch.setattr(index, "INDEX", ".index")
    told(tmp_path)
    monkeypatch.setattr(index, "_PATIENCE", 0.01)
    with sqlite3.connect(tmp_path / ".index", isolation_level=None) as base:
        base.execute("BEGIN EXCLUSIVE")  # another process writes for long
        write_run(tmp_path / "b")
        assert len(told(tmp_path)) == 2
        base.execute("ROLLBACK")


def test_many_at_once_find_the_same(tmp_path: Path) -> None:
    for i in range(30):
        write_run(tmp_path / f"run-{i}", record(epochs=i))
    with ThreadPoolExecutor(8) as pool:
        found = list(pool.map(lambda _: told(tmp_path), range(16)))
    assert all(each == found[0] for each in found)
    assert len(found[0]) == 30


def test_names_that_are_no_unicode(tmp_path: Path) -> None:
    write_run(Path(os.fsdecode(os.fsencode(tmp_path) + b"/caf\xe9")))
    assert told(tmp_path) == told(tmp_path) == fresh(tmp_path)


def test_a_run_given_as_root_gets_no_index(tmp_path: Path) -> None:
    folder = write_run(tmp_path / "a")
    rows, _ = read_rows([folder])
    assert [row.folder for row in rows] == [folder]
    assert not (folder / index.INDEX).exists()


def test_damaged_records_are_named(tmp_path: Path) -> None:
    write_run(tmp_path / "a")
    write_run(tmp_path / "b", '{"status": "runn')
    write_run(tmp_path / "c", record(schema=2))
    rows, damaged = read_rows([tmp_path])
    assert [row.folder.name for row in rows] == ["a"]
    assert [line.split(" is ")[0].split(" cannot")[0] for line in damaged] == [
        str(tmp_path / "b" / "result.json"),
        str(tmp_path / "c" / "result.json"),
    ]


def test_wrong_roots_are_one_line(tmp_path: Path) -> None:
    write_run(tmp_path / "in" / "a")
    (tmp_path / "empty").mkdir()
    for roots, line in (
        ([tmp_path / "nowhere"], "there is no such folder"),
        ([tmp_path / "empty"], "no run lies below it"),
        ([tmp_path, tmp_path / "in" / ".."], "are the same folder: give it once"),
        ([tmp_path / "in", tmp_path], f"lies in {tmp_path}: give {tmp_path} alone"),
    ):
        with pytest.raises(ConfigError, match=line):
            read_rows(roots)
    assert not (tmp_path / "empty" / index.INDEX).exists()

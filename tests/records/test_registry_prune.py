# SPDX-License-Identifier: MIT
"""What is removed: a run's own folder, at once, and nothing that lives."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import pytest
from filelock import FileLock

from mixmask_solo.config import ConfigError
from mixmask_solo.records.registry import prune
from mixmask_solo.records.registry.prune import remove_checkpoints, remove_run, size
from mixmask_solo.records.registry.read import read_root, read_rows
from mixmask_solo.records.registry.row import Row
from support.registry import alive, record, write_run
from support.runs import snapshot


def run(folder: Path, status: str = "failed", **more: object) -> Row:
    write_run(folder, record(status, **more))
    (folder / "last.ckpt").write_bytes(b"x" * 1000)
    for epoch in (8, 9, 10):
        (folder / f"a-ep{epoch}.ckpt").write_bytes(b"x" * 100)
    [row] = [row for row in read_root(folder.parent)[0] if row.folder == folder]
    return row


def test_a_run_goes_with_all_it_holds(tmp_path: Path) -> None:
    row, other = run(tmp_path / "a"), run(tmp_path / "b")
    outside = tmp_path.with_name("outside")
    outside.mkdir()
    (outside / "kept").write_bytes(b"y" * 10**5)
    (row.folder / "link").symlink_to(outside, target_is_directory=True)
    bytes_ = size(row.folder)
    assert 1300 < bytes_ < 10**4
    assert remove_run(row, [tmp_path]) == pytest.approx(bytes_, abs=100)
    assert sorted(p.name for p in tmp_path.iterdir() if not p.name.startswith(".")) == ["b"]
    assert not list(tmp_path.glob(".*.pruned"))
    assert (outside / "kept").exists()
    assert other.folder.is_dir()


def test_a_run_that_holds_another_is_left_alone(tmp_path: Path) -> None:
    row = run(tmp_path / "a")
    inner = write_run(row.folder / "probes" / "sgd", record())
    before = snapshot(inner)
    with pytest.raises(ConfigError, match=f"a is left alone: another run lies in it, {inner}"):
        remove_run(row, [tmp_path])
    assert snapshot(inner) == before
    assert remove_checkpoints(row, [tmp_path]) == 300  # its own alone
    inner.rename(inner.with_name(f".sgd.{'0' * 32}.pruned"))  # what an earlier removal left
    remove_run(row, [tmp_path])
    assert not row.folder.exists()


def test_checkpoints_but_the_last(tmp_path: Path) -> None:
    row = run(tmp_path / "a")
    kept = {k: v for k, v in snapshot(row.folder).items() if "-ep" not in k}
    assert remove_checkpoints(row, [tmp_path]) == 300
    left = {k: v for k, v in snapshot(row.folder).items() if not k.endswith(".lock")}
    assert left == kept
    assert remove_checkpoints(row, [tmp_path]) == 0


def test_without_a_last_one_the_newest_stays(tmp_path: Path) -> None:
    row = run(tmp_path / "a")
    (row.folder / "last.ckpt").unlink()
    assert remove_checkpoints(row, [tmp_path]) == 200
    assert [p.name for p in row.folder.glob("*.ckpt")] == ["a-ep10.ckpt"]


@pytest.mark.parametrize("remove", [remove_run, remove_checkpoints])
def test_what_lives_or_lies_elsewhere_is_left_alone(
    tmp_path: Path, remove: Callable[..., int]
) -> None:
    root = tmp_path / "root"
    row = run(root / "a")
    before = snapshot(root / "a")

    def refused(row: Row, line: str, roots: list[Path]) -> None:
        with pytest.raises(ConfigError, match=f"is left alone: {line}"):
            remove(row, roots)

    with FileLock(row.folder / ".lock"):
        refused(row, "a process is writing there", [root])
    refused(run(root / "live", "running", **alive()), "it is running", [root])
    refused(row, "give a folder that it lies in", [tmp_path / "other"])
    [itself] = read_rows([row.folder])[0]
    refused(itself, "give a folder that it lies in", [row.folder])
    link = root / "link"
    link.symlink_to(row.folder, target_is_directory=True)
    refused(Row(link, row.keys, row.values), "give a folder that it lies in, and no link", [root])
    left = {k: v for k, v in snapshot(root / "a").items() if not k.endswith(".lock")}
    assert left == before
    write_run(row.folder, record("completed", heartbeat="2026-02-01T00:00:00+00:00"))
    refused(row, "it is running, or has gone on meanwhile", [root])
    (row.folder / "result.json").unlink()
    refused(row, "it holds no result.json any more", [root])


def test_an_interrupted_removal_leaves_no_half_of_a_run(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    row, other = run(tmp_path / "a"), run(tmp_path / "b")

    def stop(*_: object, **__: object) -> None:
        raise KeyboardInterrupt

    with monkeypatch.context() as patch:
        patch.setattr(prune.shutil, "rmtree", stop)
        with pytest.raises(KeyboardInterrupt):
            remove_run(row, [tmp_path])
    assert [one.folder.name for one in read_root(tmp_path)[0]] == ["b"]
    assert len(list(tmp_path.glob(".a.*.pruned"))) == 1
    remove_run(other, [tmp_path])
    assert not [p for p in tmp_path.iterdir() if p.is_dir()]

# SPDX-License-Identifier: MIT
"""Images on a disk of the machine's own: whole, once, and the same images to every record."""

from __future__ import annotations

import os
import shutil
import threading
from pathlib import Path
from typing import Any

import pytest

from mixmask_solo.config import ConfigError
from mixmask_solo.data import stage
from mixmask_solo.data.stage import staged


@pytest.fixture
def images(tmp_path: Path) -> Path:
    folder = tmp_path / "set" / "train"
    for name in ("a/1.png", "a/2.png", "b/3.png"):
        (folder / name).parent.mkdir(parents=True, exist_ok=True)
        (folder / name).write_bytes(name.encode() * 1000)
    return folder


def content(folder: Path) -> dict[str, bytes]:
    files = (file for file in folder.rglob("*") if file.is_file())
    return {str(file.relative_to(folder)): file.read_bytes() for file in files}


def test_without_the_key_nothing_moves(images: Path) -> None:
    block = {"train_path": str(images), "stage_to": None}
    assert staged(block) is block


def test_folders_files_and_lists_are_copied_whole(images: Path, tmp_path: Path) -> None:
    table = images.parent / "val.parquet"
    table.write_bytes(os.urandom(1 << 20))
    block = {"train_path": str(images), "val_path": str(table), "stage_to": str(tmp_path / "own")}
    moved = staged(block)
    assert block["train_path"] == str(images)
    train, val = Path(moved["train_path"]), Path(moved["val_path"])
    assert tmp_path / "own" in train.parents
    assert train.parts[-2:] == ("set", "train")
    assert content(train) == content(images)
    assert val.read_bytes() == table.read_bytes()
    assert not [file for file in (tmp_path / "own").iterdir() if file.name.endswith(".tmp")]

    names = images / "list.txt"
    names.write_text("a/1.png 0\n")
    listed = staged({"train_path": str(names), "stage_to": str(tmp_path / "own")})
    assert (Path(listed["train_path"]).parent / "a/1.png").is_file()


def test_variables_of_the_machine(images: Path, tmp_path: Path, monkeypatch: Any) -> None:
    monkeypatch.setenv("OWN_DISK", str(tmp_path / "own"))
    moved = staged({"train_path": str(images), "stage_to": "$OWN_DISK/images"})
    assert tmp_path / "own" / "images" in Path(moved["train_path"]).parents
    with pytest.raises(ConfigError, match=r"data.stage_to is '\$NO_SUCH/x': there is no such var"):
        staged({"train_path": str(images), "stage_to": "$NO_SUCH/x"})


def test_many_copy_once(images: Path, tmp_path: Path, monkeypatch: Any) -> None:
    copied: list[str] = []
    copy = stage._copy
    monkeypatch.setattr(stage, "_copy", lambda a, b: (copied.append(a.name), copy(a, b)))
    block = {"train_path": str(images), "stage_to": str(tmp_path / "own")}
    found: list[str] = []
    threads = [
        threading.Thread(target=lambda: found.append(staged(block)["train_path"])) for _ in range(6)
    ]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert len(found) == 6
    assert len(set(found)) == 1
    assert sorted(copied) == ["1.png", "2.png", "3.png"]


def test_a_changed_source_is_another_copy(images: Path, tmp_path: Path) -> None:
    block = {"train_path": str(images), "stage_to": str(tmp_path / "own")}
    first = staged(block)["train_path"]
    (images / "a" / "1.png").write_bytes(b"new")
    second = Path(staged(block)["train_path"])
    assert str(second) != first
    assert (second / "a" / "1.png").read_bytes() == b"new"


def test_a_copy_that_is_not_its_source_is_refused(
    images: Path, tmp_path: Path, monkeypatch: Any
) -> None:
    monkeypatch.setattr(stage, "_digest", lambda file: b"other")
    with pytest.raises(ConfigError, match="is not what was read from"):
        staged({"train_path": str(images), "stage_to": str(tmp_path / "own")})
    left = [file for file in (tmp_path / "own").iterdir() if not file.name.endswith(".lock")]
    assert not left


def test_a_small_disk_is_told_before_anything_is_copied(
    images: Path, tmp_path: Path, monkeypatch: Any
) -> None:
    usage = shutil.disk_usage(tmp_path)
    monkeypatch.setattr(shutil, "disk_usage", lambda path: usage._replace(free=1000))
    with pytest.raises(ConfigError, match=r"1.0 kB are free there, '.*train' takes 21.0 kB"):
        staged({"train_path": str(images), "stage_to": str(tmp_path / "own")})


def test_what_a_killed_process_left_is_removed(images: Path, tmp_path: Path) -> None:
    block = {"train_path": str(images), "stage_to": str(tmp_path / "own")}
    home = Path(staged(block)["train_path"]).parents[1]
    left = home.with_name(f".{home.name}.abc.tmp")
    shutil.move(home, left)
    assert Path(staged(block)["train_path"]).is_dir()
    assert not left.exists()

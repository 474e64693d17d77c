# SPDX-License-Identifier: MIT
"""A run writes into its own folder only, joins nobody else's, and loses nothing earlier."""

from __future__ import annotations

import logging
import os
import re
import shutil
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
import torch
from filelock import FileLock

from mixmask_solo.config import ConfigError
from mixmask_solo.config.files import write_json
from mixmask_solo.records.checkpoints import LAST
from mixmask_solo.runs.pretrain import pretrain
from support.runs import result, snapshot
from support.tiny import config, interrupted, weights

AUTO = {"auto_resume": {"enabled": True}}


def test_a_checkpoint_from_elsewhere_starts_a_new_folder(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    saved = interrupted(monkeypatch, config(tmp_path / "runs"))
    before = snapshot(saved.parent)
    downloads = tmp_path / "downloads"
    downloads.mkdir()
    (downloads / "tiny-ep0.ckpt").write_bytes(b"of somebody else")
    elsewhere = Path(shutil.copy(saved, downloads / "mine.ckpt"))
    done = pretrain(config(tmp_path / "runs", resume_from_checkpoint=str(elsewhere)))
    assert Path(done["directory"]).parent == saved.parents[1]
    assert Path(done["directory"]) != saved.parent
    assert snapshot(saved.parent) == before
    assert sorted(p.name for p in downloads.iterdir()) == ["mine.ckpt", "tiny-ep0.ckpt"]
    assert done["id"] != result(saved.parent)["id"]
    # what was counted before is still counted
    assert [p["images"] for p in done["pieces"]] == [4 * 16, 5 * 16]
    assert done["steps"] == 9


def test_an_older_checkpoint_starts_a_new_folder_and_loses_no_later_epoch(tmp_path: Path) -> None:
    first = pretrain(config(tmp_path, checkpoint={"keep_prev": True}))
    folder = Path(first["directory"])
    before = snapshot(folder)
    again = pretrain(
        config(
            tmp_path,
            resume_from_checkpoint=str(folder / "tiny-ep0.ckpt"),
            checkpoint={"keep_prev": True},
        )
    )
    assert again["directory"] != first["directory"]
    assert snapshot(folder) == before
    a, b = (weights(Path(r["directory"]) / LAST) for r in (first, again))
    assert all(torch.equal(a[k], b[k]) for k in a)


@pytest.mark.parametrize("name", [LAST, "tiny-ep2.ckpt"])
def test_a_finished_run_has_nothing_left_to_do(
    name: str, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    first = pretrain(config(tmp_path))
    folder = Path(first["directory"])
    before = snapshot(tmp_path)
    with caplog.at_level(logging.INFO, logger="mixmask_solo"):
        again = pretrain(config(tmp_path, resume_from_checkpoint=str(folder / name)))
    assert again == {**first, "already": True}
    assert again["metrics"] == first["metrics"] != {}
    assert snapshot(tmp_path) == before
    assert "nothing is left to do" in caplog.text
    assert "has 3 of max_epochs=3 epochs" in caplog.text


def test_folders_of_runs_have_plain_names(tmp_path: Path) -> None:
    name = "lr=0.1, [a b] 'x' \"y\" $HOME/{z} é/../.."
    done = pretrain(config(tmp_path, name=name, max_epochs=1, limit_train_batches=1))
    folder = Path(done["directory"])
    assert folder.parent == tmp_path / "simclr"
    assert done["config"]["name"] == name
    for path in (folder, *folder.glob("*.ckpt")):
        assert re.fullmatch(r"[\w.-]+", path.name, flags=re.ASCII), path.name


def test_the_lock_is_free_after_a_start_that_failed(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    saved = interrupted(monkeypatch, config(tmp_path, **AUTO))
    with monkeypatch.context() as patch:
        patch.setattr("mixmask_solo.runs.pretrain._judge_bank", lambda *_: 1 / 0)
        with pytest.raises(ZeroDivisionError) as kept:
            pretrain(config(tmp_path, **AUTO))
    assert pretrain(config(tmp_path, **AUTO))["directory"] == str(saved.parent)
    assert kept.value


def test_a_failure_before_the_first_step_leaves_no_folder(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    from mixmask_solo.data import ImageData

    def broken(self: Any) -> Any:
        raise RuntimeError("no data today")

    monkeypatch.setattr(ImageData, "train_dataloader", broken)
    with pytest.raises(RuntimeError, match="no data today"):
        pretrain(config(tmp_path))
    assert not list(tmp_path.rglob("*.json"))
    assert not [p for p in tmp_path.rglob("*") if p.name.startswith("tiny")]


def test_what_ended_a_run_is_told_also_where_no_folder_can_be(tmp_path: Path) -> None:
    (tmp_path / "file").touch()
    with pytest.raises(NotADirectoryError) as error:
        pretrain(config(tmp_path / "file" / "runs"))
    assert "damaged" not in str(error.value.filename)  # a file that only tidying up looked for


def test_a_folder_in_use_is_refused_with_the_name_of_who_uses_it(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    saved = interrupted(monkeypatch, config(tmp_path, **AUTO))
    host = result(saved.parent)["process"]["host"]
    write_json(saved.parent / ".holder.json", {"pid": os.getppid(), "host": host})
    before = snapshot(saved.parent)
    with FileLock(saved.parent / ".lock"):
        for how in (AUTO, {"resume_from_checkpoint": str(saved)}):
            with pytest.raises(ConfigError, match=rf"in use by process {os.getppid()} on \S+:"):
                pretrain(config(tmp_path, **how))
    assert snapshot(saved.parent) == before
    assert pretrain(config(tmp_path, **AUTO))["status"] == "completed"


def test_the_lock_of_a_killed_process_is_waited_for(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    saved = interrupted(monkeypatch, config(tmp_path, **AUTO))
    gone = subprocess.Popen([sys.executable, "-c", ""])
    gone.wait()
    host = result(saved.parent)["process"]["host"]
    write_json(saved.parent / ".holder.json", {"pid": gone.pid, "host": host})
    code = (
        "import sys, time, filelock\n"
        "with filelock.FileLock(sys.argv[1]): print('held', flush=True); time.sleep(2)"
    )
    worker = subprocess.Popen(  # stands for a worker that still holds what it inherited
        [sys.executable, "-c", code, str(saved.parent / ".lock")], stdout=subprocess.PIPE
    )
    assert worker.stdout is not None
    worker.stdout.readline()
    assert pretrain(config(tmp_path, **AUTO))["status"] == "completed"
    worker.wait()

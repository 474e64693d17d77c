# SPDX-License-Identifier: MIT
"""``auto_resume`` goes on with the very run, whole or damaged; a checkpoint says whose it is."""

from __future__ import annotations

import json
import logging
import os
import shutil
import time
from pathlib import Path
from typing import Any

import pytest
import torch
from PIL import Image

from mixmask_solo.config import ConfigError
from mixmask_solo.config.files import write_json
from mixmask_solo.records.checkpoints import LAST, AtomicCheckpointIO, read_checkpoint
from mixmask_solo.runs.interrupt import Interrupted
from mixmask_solo.runs.pretrain import pretrain
from support.runs import result, snapshot
from support.tiny import config, crash_at, interrupt_at, interrupted, weights

AUTO = {"auto_resume": {"enabled": True}}


@pytest.mark.parametrize(
    "other",
    [
        {"name": "another"},
        {"seed": 6},
        {"method_kwargs": {"mixmask": {"switch": False}}},
        {"method_kwargs": {"mixmask": {"weight": 0.0}}},
        {"optimizer": {"lr": 0.2}},
        {"max_epochs": 4},
    ],
)
def test_auto_resume_joins_no_other_run(
    other: dict[str, Any], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    saved = interrupted(monkeypatch, config(tmp_path, **AUTO), epoch=0)
    before = snapshot(saved.parent)
    with monkeypatch.context() as patch:
        interrupt_at(patch, 0, 1)
        with pytest.raises(Interrupted) as stop:
            pretrain(config(tmp_path, **AUTO, **other))
    assert Path(str(stop.value.checkpoint)).parent != saved.parent
    assert snapshot(saved.parent) == before


def test_auto_resume_joins_no_run_on_other_images(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def images(name: str, each: int) -> dict[str, Any]:
        for label in "ab":
            (tmp_path / name / label).mkdir(parents=True)
            for i in range(each):
                Image.new("RGB", (32, 32), (i, 0, 0)).save(tmp_path / name / label / f"{i}.png")
        return {"data": {"dataset": "custom", "train_path": str(tmp_path / name)}, **AUTO}

    one, same = images("one", 24), images("same", 24)
    saved = interrupted(monkeypatch, config(tmp_path / "runs", **one), epoch=0)
    joined = interrupted(monkeypatch, config(tmp_path / "runs", **one), epoch=1)
    assert joined.parent == saved.parent
    elsewhere = interrupted(monkeypatch, config(tmp_path / "runs", **same), epoch=0)
    assert elsewhere.parent != saved.parent
    # the same path, from another folder's point of view, is the same run
    monkeypatch.chdir(tmp_path)
    one["data"]["train_path"] = "one"
    joined = interrupted(monkeypatch, config(tmp_path / "runs", **one), epoch=2)
    assert joined.parent == saved.parent
    # the same path with another image of the same class
    (tmp_path / "one" / "a" / "3.png").rename(tmp_path / "one" / "a" / "33.png")
    other = interrupted(monkeypatch, config(tmp_path / "runs", **one), epoch=0)
    assert other.parent != saved.parent


def test_auto_resume_falls_back_to_the_newest_readable_checkpoint_and_says_so(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    cfg = config(tmp_path, **AUTO, checkpoint={"keep_prev": True})
    straight = pretrain(config(tmp_path / "straight"))
    with monkeypatch.context() as patch:
        crash_at(patch, 2, 2)
        with pytest.raises(RuntimeError):
            pretrain(cfg)
    [folder] = (tmp_path / "simclr").iterdir()
    # `last.ckpt` and the newest numbered file are one file, so that both are damaged
    content = bytearray((folder / LAST).read_bytes())
    content[len(content) // 2] ^= 1
    (folder / LAST).unlink()
    (folder / LAST).write_bytes(content)
    (folder / "tiny-ep1.ckpt").write_bytes(content[: len(content) // 3])
    with caplog.at_level(logging.INFO, logger="mixmask_solo"):
        done = pretrain(cfg)
    assert Path(done["directory"]) == folder
    assert f"'{folder / LAST}' is damaged" in caplog.text
    assert f"going on with {folder / 'tiny-ep0.ckpt'}" in caplog.text
    a, b = (weights(Path(r["directory"]) / LAST) for r in (straight, done))
    assert all(torch.equal(a[k], b[k]) for k in a)


def without_later_keys(folder: Path) -> None:
    """The records of a run as a version left them that wrote down less of each view."""

    def cut(config: dict[str, Any]) -> dict[str, Any]:
        for view in config["augmentations"]:
            del view["order"], view["rrc"]["interpolation"], view["gaussian_blur"]["sigma"]
        return config

    write_json(folder / "args.json", cut(json.loads((folder / "args.json").read_text())))
    record = result(folder)
    write_json(folder / "result.json", {**record, "config": cut(record["config"])})
    content = read_checkpoint(folder / LAST)
    told = content["mixmask_solo"]
    told["config"] = json.dumps(cut(json.loads(told["config"])))
    (folder / LAST).unlink()
    AtomicCheckpointIO().save_checkpoint(content, folder / LAST)


def test_a_run_of_a_version_that_wrote_down_less_is_joined(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    saved = interrupted(monkeypatch, config(tmp_path, **AUTO))
    for already in (None, True):
        without_later_keys(saved.parent)
        done = pretrain(config(tmp_path, **AUTO))
        assert done["directory"] == str(saved.parent)
        assert (done["status"], done["steps"]) == ("completed", 9)
        assert done.get("already") is already


def test_a_record_that_cannot_be_read_as_a_configuration_is_of_another_run(tmp_path: Path) -> None:
    first = pretrain(config(tmp_path, **AUTO, max_epochs=1, limit_train_batches=1))
    folder = Path(first["directory"])
    for stored in ({**first["config"], "a_later_key": 1}, {}):
        write_json(folder / "result.json", {**result(folder), "config": stored})
        done = pretrain(config(tmp_path, **AUTO, max_epochs=1, limit_train_batches=1))
        assert done["directory"] != str(folder)
        shutil.rmtree(done["directory"])


def test_a_run_that_was_stopped_before_its_first_checkpoint_begins_anew_in_its_folder(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    straight = pretrain(config(tmp_path / "straight"))
    with monkeypatch.context() as patch:
        crash_at(patch, 0, 1)
        with pytest.raises(RuntimeError):
            pretrain(config(tmp_path, **AUTO))
    [folder] = (tmp_path / "simclr").iterdir()
    done = pretrain(config(tmp_path, **AUTO))
    assert Path(done["directory"]) == folder
    assert [p["first_step"] for p in done["pieces"]] == [0, 0]
    a, b = (weights(Path(r["directory"]) / LAST) for r in (straight, done))
    assert all(torch.equal(a[k], b[k]) for k in a)


@pytest.mark.parametrize("ending", ["no checkpoints", "deleted"])
def test_auto_resume_leaves_a_completed_run_alone_with_or_without_checkpoints(
    ending: str, tmp_path: Path
) -> None:
    cfg = config(tmp_path, **AUTO, checkpoint={"enabled": ending == "deleted"})
    first = pretrain(cfg)
    for path in Path(first["directory"]).glob("*.ckpt"):
        path.unlink()
    before = snapshot(tmp_path)
    assert pretrain(cfg) == {**first, "already": True}
    assert snapshot(tmp_path) == before


def test_a_run_without_readable_checkpoints_keeps_what_it_recorded(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    saved = interrupted(monkeypatch, config(tmp_path, **AUTO), epoch=2)
    for path in saved.parent.glob("*.ckpt"):
        path.unlink()
    before = snapshot(saved.parent)
    done = pretrain(config(tmp_path, **AUTO))
    assert done["directory"] != str(saved.parent)
    assert "holds no readable checkpoint: a new run" in caplog.text
    after = snapshot(saved.parent)
    del after[str(saved.parent / ".holder.json")], before[str(saved.parent / ".holder.json")]
    assert after == before


def test_a_run_killed_after_its_last_checkpoint_is_completed_by_the_next_command(
    tmp_path: Path,
) -> None:
    for how in ("auto_resume", "resume_from_checkpoint"):
        first = pretrain(config(tmp_path / how, **AUTO))
        folder = Path(first["directory"])
        torn = {**first, "status": "running", "metrics": {}, "metrics_epoch": None, "epochs": 2}
        torn["pieces"] = [{**first["pieces"][0], "status": "running"}]
        del torn["directory"]
        write_json(folder / "result.json", torn)
        given = AUTO if how == "auto_resume" else {how: str(folder / LAST)}
        again = pretrain(config(tmp_path / how, **given))
        assert (again["status"], again["already"]) == ("completed", True)
        for key in ("metrics", "metrics_epoch", "epochs", "steps"):
            assert again[key] == first[key] == result(folder)[key]
        assert [p["status"] for p in again["pieces"]] == ["killed"]


def test_a_checkpoint_that_tells_no_configuration_is_refused(tmp_path: Path) -> None:
    made = pretrain(config(tmp_path, max_epochs=1, limit_train_batches=1))
    content = torch.load(Path(made["directory"]) / LAST, weights_only=True)
    del content["mixmask_solo"]
    (tmp_path / "bare").mkdir()
    torch.save(content, tmp_path / "bare" / "x.ckpt")
    change = {"resume_from_checkpoint": str(tmp_path / "bare" / "x.ckpt")}
    for args in (None, "{ torn"):
        if args:
            (tmp_path / "bare" / "args.json").write_text(args)
        with pytest.raises(ConfigError, match=r"x\.ckpt' does not tell the configuration"):
            pretrain(config(tmp_path, optimizer={"lr": 5.0}, **change))


def test_a_finished_file_in_another_runs_folder_tells_nothing_of_that_run(tmp_path: Path) -> None:
    one = Path(pretrain(config(tmp_path, max_epochs=1))["directory"])
    other = Path(pretrain(config(tmp_path, max_epochs=1, seed=7))["directory"])
    copied = shutil.copy(one / LAST, other / "copied.ckpt")
    found = pretrain(config(tmp_path, max_epochs=1, resume_from_checkpoint=str(copied)))
    assert found.keys() == {"directory", "already"}


def test_a_run_older_than_max_hours_is_not_joined(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """By when it last wrote, whatever its folder is called."""
    short = {"max_epochs": 1, "limit_train_batches": 2}
    saved = interrupted(monkeypatch, config(tmp_path, **AUTO, **short), epoch=0)
    hours = {"auto_resume": {"enabled": True, "max_hours": 2}}
    record = saved.parent / "result.json"
    os.utime(record, (0, time.time() - 3 * 3600))
    other = pretrain(config(tmp_path, **hours, **short))
    assert other["directory"] != str(saved.parent)
    shutil.rmtree(other["directory"])
    os.utime(record, (0, time.time() - 3600))
    assert pretrain(config(tmp_path, **hours, **short))["directory"] == str(saved.parent)

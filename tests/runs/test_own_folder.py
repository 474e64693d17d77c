# SPDX-License-Identifier: MIT
"""A run writes into its own folder only, joins nobody else's, and loses nothing earlier."""

from __future__ import annotations

import json
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
from PIL import Image

from mixmask_solo.config import ConfigError
from mixmask_solo.config.files import write_json
from mixmask_solo.records.checkpoints import LAST, AtomicCheckpointIO, read_checkpoint
from mixmask_solo.runs.interrupt import Interrupted
from mixmask_solo.runs.pretrain import pretrain
from support.tiny import config, crash_at, interrupt_at, interrupted, weights

AUTO = {"auto_resume": {"enabled": True}}


def snapshot(folder: Path) -> dict[str, bytes]:
    return {str(p): p.read_bytes() for p in sorted(folder.rglob("*")) if p.is_file()}


def result(folder: Path) -> dict[str, Any]:
    content: dict[str, Any] = json.loads((folder / "result.json").read_text())
    return content


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


def test_a_file_that_the_run_did_not_write_is_never_deleted(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    saved = interrupted(monkeypatch, config(tmp_path))
    kept = saved.parent / "tiny-ep7.ckpt"  # named as if it were the run's
    kept.write_bytes(b"mine")
    stale = saved.parent / f".{LAST}.4711.tmp"
    stale.write_bytes(b"half a checkpoint")
    monkeypatch.chdir(tmp_path)
    given = saved.relative_to(tmp_path)  # as one types it
    done = pretrain(config(tmp_path, resume_from_checkpoint=str(given)))
    assert Path(done["directory"]) == saved.parent
    assert kept.read_bytes() == b"mine"
    names = sorted(p.name for p in saved.parent.glob("*.ckpt"))
    assert names == [LAST, "tiny-ep2.ckpt", "tiny-ep7.ckpt"]
    assert not stale.exists()


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


def test_folders_of_runs_have_plain_names(tmp_path: Path) -> None:
    name = "lr=0.1, [a b] 'x' \"y\" $HOME/{z} é/../.."
    done = pretrain(config(tmp_path, name=name, max_epochs=1, limit_train_batches=1))
    folder = Path(done["directory"])
    assert folder.parent == tmp_path / "simclr"
    assert done["config"]["name"] == name
    for path in (folder, *folder.glob("*.ckpt")):
        assert re.fullmatch(r"[\w.-]+", path.name, flags=re.ASCII), path.name


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


def test_init_from_takes_weights_into_a_new_run(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    made = pretrain(config(tmp_path, "mocov2plus", max_epochs=1))
    source = Path(made["directory"]) / LAST
    before = snapshot(source.parent)
    change = {"optimizer": {"lr": 1e-12, "classifier_lr": 1e-12, "weight_decay": 0.0}}
    with caplog.at_level(logging.INFO, logger="mixmask_solo"):
        done = pretrain(
            config(
                *(tmp_path, "mocov2plus"),
                **change,
                init_from=str(source),
                max_epochs=1,
                scheduler={"name": "none"},
                momentum={"base_tau": 1.0, "final_tau": 1.0},
            )
        )
    assert snapshot(source.parent) == before
    assert done["directory"] != made["directory"]
    assert done["steps"] == 3
    assert done["config"]["init_from"] == str(source)
    assert "weights of backbone, classifier" in caplog.text
    a, b = weights(source), weights(Path(done["directory"]) / LAST)
    moved = [k for k in a if k.endswith("weight") and not torch.allclose(a[k], b[k], atol=1e-6)]
    assert not moved
    assert not torch.equal(a["queue"], b["queue"])


def test_init_from_a_run_of_another_method_starts_its_momentum_network_as_a_copy(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    made = pretrain(config(tmp_path, "simclr", max_epochs=1))
    source = Path(made["directory"]) / LAST
    frozen = {"optimizer": {"lr": 1e-12, "classifier_lr": 1e-12, "weight_decay": 0.0}}
    more = {"max_epochs": 1, "momentum": {"base_tau": 1.0, "final_tau": 1.0}, **frozen}
    with caplog.at_level(logging.INFO, logger="mixmask_solo"):
        done = pretrain(config(tmp_path, "byol", init_from=str(source), **more))
    a, b = weights(source), weights(Path(done["directory"]) / LAST)
    name = "backbone.layer4.0.conv1.weight"
    assert torch.equal(a[name], b[f"momentum_{name}"])
    assert "new: projector, predictor" in caplog.text


def test_init_from_refuses_another_backbone_and_two_beginnings(tmp_path: Path) -> None:
    made = pretrain(config(tmp_path, max_epochs=1, limit_train_batches=1))
    source = str(Path(made["directory"]) / LAST)
    with pytest.raises(ConfigError, match=r"init_from: checkpoint .* does not fit resnet18"):
        pretrain(config(tmp_path, init_from=source, backbone={"name": "resnet18"}))
    with pytest.raises(ConfigError, match=rf"init_from is {source}, but .* was made without it"):
        pretrain(config(tmp_path, init_from=source, resume_from_checkpoint=source))
    with pytest.raises(ConfigError, match=r"init_from: checkpoint 'no\.ckpt' does not exist"):
        pretrain(config(tmp_path, init_from="no.ckpt"))


def test_a_run_that_began_from_weights_goes_on_and_remembers_where_from(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    made = pretrain(config(tmp_path / "first", max_epochs=1))
    start = str(Path(made["directory"]) / LAST)
    straight = pretrain(config(tmp_path / "straight", init_from=start))
    saved = interrupted(monkeypatch, config(tmp_path, init_from=start))
    done = pretrain(config(tmp_path, resume_from_checkpoint=str(saved)))
    assert done["config"]["init_from"] == start
    assert done["data"] == result(saved.parent)["data"]
    assert done["data"]["init_from"].keys() == {"checksum"}
    assert read_checkpoint(Path(done["directory"]) / LAST)["epoch"] == 2
    a, b = (weights(Path(r["directory"]) / LAST) for r in (straight, done))
    assert all(torch.equal(a[k], b[k]) for k in a)

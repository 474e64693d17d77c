# SPDX-License-Identifier: MIT
"""Which checkpoints a run leaves, what they tell of it, and whose files it deletes."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

from mixmask_solo.records.checkpoints import FILTERS, LAST, META, read_checkpoint
from mixmask_solo.runs.pretrain import pretrain
from support.runs import result
from support.tiny import config, interrupted

SHORT = {"limit_train_batches": 1, "limit_val_batches": 1}


@pytest.mark.parametrize(
    ("frequency", "keep", "numbered"),
    [(2, True, [1, 3]), (3, False, [2])],
)
def test_numbered_files_are_those_of_every_so_many_epochs(
    frequency: int, keep: bool, numbered: list[int], tmp_path: Path
) -> None:
    chosen = {"frequency": frequency, "keep_prev": keep}
    done = pretrain(config(tmp_path, checkpoint=chosen, max_epochs=4, name="a b", **SHORT))
    folder = Path(done["directory"])
    names = {f"a-b-ep{epoch}.ckpt" for epoch in numbered}
    assert {p.name for p in folder.glob("*.ckpt")} == {LAST, *names}
    for epoch in numbered:
        assert read_checkpoint(folder / f"a-b-ep{epoch}.ckpt")["epoch"] == epoch
    assert read_checkpoint(folder / LAST)["epoch"] == 3
    shared = numbered[-1:] == [3]  # the last one is there under both names, stored once
    assert (folder / LAST).stat().st_nlink == 1 + shared


def test_a_checkpoint_tells_whose_it_is_and_how_it_was_made(tmp_path: Path) -> None:
    done = pretrain(config(tmp_path, max_epochs=1, **SHORT))
    told = read_checkpoint(Path(done["directory"]) / LAST)[META]
    record = result(Path(done["directory"]))
    assert told["sealed"] is True
    assert told[FILTERS] == []
    assert json.loads(told["config"]) == record["config"]
    for key in ("id", "host", "data", "processes"):
        assert told[key] == record[key], key


def test_the_row_of_an_epoch_is_written_before_its_checkpoint(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A run killed as soon as the checkpoint is there goes on with the next epoch."""
    from lightning.pytorch import Trainer

    save, seen = Trainer.save_checkpoint, []

    def saving(self: Any, path: Any, *args: Any, **options: Any) -> None:
        seen.append((Path(path).parent / "metrics.csv").read_text().count("\n"))
        save(self, path, *args, **options)

    monkeypatch.setattr(Trainer, "save_checkpoint", saving)
    done = pretrain(config(tmp_path, max_epochs=2, limit_train_batches=2, limit_val_batches=1))
    after = (Path(done["directory"]) / "metrics.csv").read_text().count("\n")
    assert seen[-1] == after
    assert seen[0] < seen[1]


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

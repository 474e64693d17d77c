# SPDX-License-Identifier: MIT
"""A run that is killed in a validation has lost nothing."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from mixmask_solo.records.checkpoints import LAST, read_checkpoint
from mixmask_solo.runs import interrupt
from mixmask_solo.runs.interrupt import InterruptSaver
from mixmask_solo.runs.pretrain import pretrain
from support.runs import rows
from support.tiny import config, weights

MEASURED = {"knn_eval": {"enabled": True, "k": 3, "final": False}}


@pytest.mark.parametrize("accumulate", [1, 2])
def test_it_goes_on_with_the_epochs_last_step(
    accumulate: int, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    more: dict[str, Any] = {**MEASURED, "accumulate_grad_batches": accumulate}
    whole = Path(pretrain(config(tmp_path / "a", **more))["directory"])
    monkeypatch.setattr(interrupt, "_WORTH_SAVING", 0.0)
    with monkeypatch.context() as patch:
        patch.setattr(InterruptSaver, "on_validation_start", _power_cut, raising=False)
        with pytest.raises(RuntimeError, match="power cut"):
            pretrain(config(tmp_path / "b", **more))
    [saved] = (tmp_path / "b").glob(f"*/*/{LAST}")
    assert read_checkpoint(saved)["global_step"] == 3 // accumulate + 3 % accumulate - 1
    cfg = config(tmp_path / "b", auto_resume={"enabled": True}, **more)
    again = Path(pretrain(cfg)["directory"])
    assert again == saved.parent
    mine, other = weights(whole / LAST), weights(again / LAST)
    assert all(mine[name].equal(other[name]) for name in mine)
    assert rows(again) == rows(whole)


def _power_cut(self: Any, trainer: Any, *_: Any) -> None:
    if trainer.current_epoch == 0:
        raise RuntimeError("power cut")


def test_where_the_last_checkpoint_is_young_nothing_is_written_twice(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    from lightning.pytorch import Trainer

    seen = []
    save = Trainer.save_checkpoint

    def counted(self: Any, *args: Any, **options: Any) -> None:
        seen.append(self.global_step)
        save(self, *args, **options)

    monkeypatch.setattr(Trainer, "save_checkpoint", counted)
    pretrain(config(tmp_path, max_epochs=2))
    assert seen == [3, 6]
    seen.clear()
    monkeypatch.setattr(interrupt, "_WORTH_SAVING", 0.0)
    pretrain(config(tmp_path, max_epochs=2))
    assert seen == [2, 3, 5, 6]
    seen.clear()
    pretrain(config(tmp_path, max_epochs=2, check_val_every_n_epoch=2))
    assert seen == [3, 5, 6]

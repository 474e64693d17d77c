# SPDX-License-Identifier: MIT
"""``report: true``: a run's own page, with what its network saw."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from support.methods import NARROW_WORDS
from support.pages import Parsed
from support.runs import result

RUN = [
    *("--config-path", "scripts/pretrain/digits", "--config-name", "simclr_mixmask"),
    *NARROW_WORDS,
    *("max_epochs=1", "+limit_train_batches=2", "+limit_val_batches=1", "data.num_workers=0"),
]


@pytest.mark.slow
def test_a_run_leaves_a_page_and_goes_on_with_or_without_it(
    command: Callable[..., Any], tmp_path: Path
) -> None:
    where = f"checkpoint.dir={tmp_path}"
    done = command("pretrain", *RUN, where, "+report=true")
    assert done.returncode == 0, done.stderr
    [folder] = (tmp_path / "simclr").iterdir()
    assert "report" not in folder.name
    assert result(folder)["config"]["report"] is True
    parsed = Parsed((folder / "report.html").read_text())
    assert (
        "Samples as the network saw them mixmask image mask partner mixed λ = 0.50" in parsed.text
    )
    assert len([one for one in parsed.loads if one.startswith("data:image/")]) == 4 * 8

    (folder / "report.html").unlink()
    again = f"resume_from_checkpoint={folder / 'last.ckpt'}"
    done = command("pretrain", *RUN, where, again, "max_epochs=2")
    assert done.returncode == 0, done.stderr
    assert not (folder / "report.html").exists()


@pytest.mark.slow
def test_a_failed_run_has_its_page_too(command: Callable[..., Any], tmp_path: Path) -> None:
    more = ["+report=true", "optimizer.lr=1e30", "scheduler.warmup_epochs=0", "max_epochs=4"]
    done = command("pretrain", *RUN, f"checkpoint.dir={tmp_path}", *more)
    assert done.returncode == 1
    [folder] = (tmp_path / "simclr").iterdir()
    assert "diverged: NonFiniteLoss" in Parsed((folder / "report.html").read_text()).text

# SPDX-License-Identifier: MIT
"""The command ``mixmask-gallery``."""

from __future__ import annotations

import sys
from collections.abc import Callable

import pytest

from mixmask_solo.cli import gallery
from mixmask_solo.config import ConfigError
from mixmask_solo.data.decoders.dali import decoder
from support.images import write_parquet

Command = Callable[..., None]
DIGITS = ("--config-path", "scripts/pretrain/digits", "--config-name")


@pytest.fixture
def command(monkeypatch: pytest.MonkeyPatch) -> Command:
    def run(*arguments: object) -> None:
        monkeypatch.setattr(sys, "argv", ["mixmask-gallery", *map(str, arguments)])
        gallery.main()

    return run


def test_mixed_images_are_shown_unless_decoders_are_asked_for(command, capsys, tmp_path) -> None:
    out = tmp_path / "mixed.png"
    command(*DIGITS, "simclr_mixmask", "--out", out, "data.num_workers=0")
    assert capsys.readouterr().out == f"wrote {out}\n"
    assert out.stat().st_size > 0


def test_decoders_that_cannot_run_are_named(command, capsys, tmp_path, monkeypatch) -> None:
    def no_library() -> None:
        raise ConfigError("DALI cannot be imported")

    monkeypatch.setattr(decoder, "library", no_library)
    out = tmp_path / "decoders.png"
    # overrides right after the names are not taken for names
    command(*DIGITS, "simclr", "--out", out, "-n", 2, "--decoder", "all", "data.num_workers=0")
    said = capsys.readouterr().out.splitlines()
    assert said == ["left out dali: DALI cannot be imported", f"wrote {out}"]
    with pytest.raises(SystemExit) as stop:
        command(*DIGITS, "simclr", "--out", tmp_path / "none.png", "--decoder", "dali")
    assert stop.value.code == 2
    assert capsys.readouterr().err == "mixmask-gallery: DALI cannot be imported\n"


def test_a_picture_needs_no_full_batch(command, capsys, tmp_path) -> None:
    images = write_parquet(tmp_path / "few.parquet", 6)
    out = tmp_path / "mixed.png"
    overrides = ["data.dataset=parquet", f"data.train_path={images}", "data.num_workers=0"]
    command(*DIGITS, "simclr_mixmask", "--out", out, *overrides, "optimizer.batch_size=64")
    assert capsys.readouterr().out == f"wrote {out}\n"


@pytest.mark.parametrize("shown", [(), ("--decoder", "pil")], ids=["mixed", "decoders"])
def test_a_picture_of_no_images_is_refused(shown, command, capsys, tmp_path) -> None:
    with pytest.raises(SystemExit) as stop:
        command(*DIGITS, "simclr_mixmask", "--out", tmp_path / "a.png", "-n", 0, *shown)
    assert stop.value.code == 2
    assert capsys.readouterr().err == "mixmask-gallery: -n is 0: give at least 1 image\n"

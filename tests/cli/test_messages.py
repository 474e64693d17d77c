# SPDX-License-Identifier: MIT
"""What the package has to say reaches the user of every command, once."""

from __future__ import annotations

import logging
import sys
from pathlib import Path

import numpy as np
import pytest
import timm
import torch
from lightning.pytorch.utilities import rank_zero_only
from PIL import Image

from mixmask_solo.cli.ending import quiet
from support.methods import NARROW_WORDS

log = logging.getLogger("mixmask_solo.somewhere")


@pytest.fixture
def images(tmp_path: Path) -> Path:
    """Two classes of noise, one image of them damaged."""
    rng = np.random.default_rng(0)
    for name in "ab":
        (tmp_path / "images" / name).mkdir(parents=True)
        for i in range(8):
            pixels = rng.integers(0, 256, (16, 16, 3), dtype=np.uint8)
            Image.fromarray(pixels).save(tmp_path / "images" / name / f"{i}.png")
    (tmp_path / "images" / "b" / "7.png").write_bytes(b"torn")
    return tmp_path / "images"


@pytest.mark.slow
def test_pretraining_tells_what_it_switches_off_and_leaves_out(
    images: Path, tmp_path: Path, command
) -> None:
    arguments = [
        *("--config-path", "scripts/pretrain/digits", "--config-name", "simclr_mixmask"),
        *NARROW_WORDS,
        *("data.dataset=custom", f"++data.train_path={images}", "++data.val_path=null"),
        *("++data.on_error=skip", "data.num_workers=0", "optimizer.batch_size=4"),
        *("knn_eval.enabled=false", "accelerator=cpu", "++sync_batchnorm=true"),
        *(f"checkpoint.dir={tmp_path / 'runs'}", "max_epochs=1", "scheduler.warmup_epochs=0"),
    ]
    done = command("pretrain", *arguments)
    assert done.returncode == 0, done.stderr
    warnings = [line for line in done.stderr.splitlines() if line.startswith("WARNING: ")]
    assert warnings[0] == "WARNING: sync_batchnorm needs a GPU; switched off on the CPU"
    assert warnings[1].startswith("WARNING: 1 damaged image was left out (data.on_error=skip): ")
    assert f"{images}/b/7.png" in warnings[1]
    assert len(warnings) == 2
    assert len(done.stdout.splitlines()) == 1


@pytest.mark.slow
def test_a_probe_tells_whose_stem_it_takes(tmp_path: Path, command) -> None:
    torch.manual_seed(0)
    state = timm.create_model("resnet10t", num_classes=0).state_dict()
    file = tmp_path / "last.ckpt"
    torch.save({"state_dict": {f"backbone.{k}": v for k, v in state.items()}}, file)
    stored = '{"method": "simclr", "backbone": {"name": "resnet10t", "stem": "imagenet"}}'
    (tmp_path / "args.json").write_text(stored)
    done = command(
        *("linear", "--config-path", "scripts/linear/digits", "--config-name", "sgd"),
        *(f"pretrained_feature_extractor={file}", "++backbone.stem=cifar", "accelerator=cpu"),
        *("max_epochs=1", "limit_train_batches=1", "limit_val_batches=1", "data.num_workers=0"),
        f"checkpoint.dir={tmp_path / 'runs'}",
    )
    assert done.returncode == 0, done.stderr
    [warning] = [line for line in done.stderr.splitlines() if "WARNING" in line]
    assert warning == (
        f"WARNING: backbone.stem is cifar, but '{file}' was pretrained with imagenet: "
        "taking the latter"
    )


def test_messages_go_to_stderr_once_and_to_whoever_listens(
    capsys: pytest.CaptureFixture[str], caplog: pytest.LogCaptureFixture
) -> None:
    logging.getLogger().setLevel(logging.ERROR)  # as Hydra's `disabled` leaves it
    log.disabled = True
    for _ in range(2):
        quiet()
    log.info("resumed %s", "x")
    log.warning("odd")
    log.debug("detail")
    assert capsys.readouterr().err == "INFO: resumed x\nWARNING: odd\n"
    assert [record.getMessage() for record in caplog.records] == ["resumed x", "odd"]


def test_where_the_root_logger_has_a_console_that_alone_shows_them(
    capsys: pytest.CaptureFixture[str],
) -> None:
    quiet()
    logging.getLogger().addHandler(logging.StreamHandler(sys.stderr))
    log.warning("odd")
    assert capsys.readouterr().err == "odd\n"


def test_other_ranks_are_silent_but_for_errors(
    capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    quiet()
    monkeypatch.setattr(rank_zero_only, "rank", 1)
    log.warning("odd")
    log.error("broken")
    assert capsys.readouterr().err == "ERROR: broken\n"

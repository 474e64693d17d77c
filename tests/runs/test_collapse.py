# SPDX-License-Identifier: MIT
"""A collapse is warned of once, when it begins, and noted with its epoch."""

from __future__ import annotations

import logging
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
import torch
from omegaconf import OmegaConf

from mixmask_solo.data import build_pretrain
from mixmask_solo.evaluation.health import (
    LEAST_RANK,
    LEAST_SPREAD,
    embedding_std,
    rankme,
    verdict,
)
from mixmask_solo.host.builtin import methods
from mixmask_solo.methods import get_method
from mixmask_solo.runs.collapse import CollapseWatch, collapse_watch
from mixmask_solo.runs.pretrain import pretrain, resolve
from mixmask_solo.runs.readback import Readback
from support.methods import HEADS, run_config
from support.runs import result, rows
from support.tiny import config, interrupted

HEALTHY, LAST = (0.08, 60.0), (0.0001, 1.1)  # std, rank of 128
LINE, PLANE = (0.08, 1.2), (0.08, 4.0)


def watched(epochs: list[Any], readback: Any = None) -> tuple[Any, CollapseWatch]:
    kept: Any = readback or Readback(None)  # type: ignore[arg-type]
    watch = CollapseWatch(kept, 128, 1000)
    for number, measured in enumerate(epochs):
        names = ("train_embedding_std", "train_embedding_rank")
        kept.epoch = {k: v for k, v in zip(names, measured, strict=True) if v is not None}
        trainer: Any = SimpleNamespace(current_epoch=number, is_global_zero=True)
        watch.on_train_epoch_end(trainer, None)  # type: ignore[arg-type]
    return kept, watch


@pytest.mark.parametrize(
    ("epochs", "warned", "note"),
    [
        ([HEALTHY, HEALTHY], 0, None),
        ([HEALTHY, LAST, LAST], 1, ("collapsed", 1, None)),
        ([HEALTHY, LINE, LAST], 1, ("collapsed", 1, None)),
        ([(0.0001, None), (0.0001, None)], 1, ("collapsed", 0, None)),
        ([LAST, HEALTHY, HEALTHY], 1, ("collapsed", 0, 1)),
        ([LAST, HEALTHY, LAST], 2, ("collapsed", 2, None)),
        ([PLANE, PLANE, LAST, PLANE], 2, ("collapsed", 2, None)),
        ([HEALTHY, PLANE, HEALTHY], 1, ("dimensional collapse", 1, 2)),
        ([PLANE, HEALTHY], 0, None),
        ([(None, None)], 0, None),
    ],
)
def test_it_is_warned_of_when_it_begins(
    epochs: list[Any], warned: int, note: Any, caplog: pytest.LogCaptureFixture
) -> None:
    with caplog.at_level(logging.WARNING):
        readback, _ = watched(epochs)
    assert len(caplog.records) == warned
    told = readback.told().get("collapse")
    assert told == note or (told["kind"], told["epoch"], told["until"]) == note


def test_the_warning_has_figures_and_advice(caplog: pytest.LogCaptureFixture) -> None:
    with caplog.at_level(logging.WARNING):
        watched([HEALTHY, LAST])
    [record] = caplog.records
    for part in (
        "collapsed: ",
        "epoch 2",
        "std 0.0001",
        "0.088",
        "rank 1.1 of 128",
        "optimizer.lr",
    ):
        assert part in record.message


def test_a_run_that_goes_on_does_not_warn_again(caplog: pytest.LogCaptureFixture) -> None:
    first, _ = watched([LAST])
    again = Readback(None)  # type: ignore[arg-type]
    again.load_state_dict(first.state_dict())
    caplog.clear()
    with caplog.at_level(logging.WARNING):
        watched([LAST], again)
    assert not caplog.records
    assert again.told()["collapse"]["epoch"] == 0


def test_a_probe_is_not_watched() -> None:
    watch = collapse_watch(Readback(None), OmegaConf.create({"max_epochs": 1}), 10)  # type: ignore[arg-type]
    assert watch.highest is None
    watch.readback.epoch = {"train_embedding_std": 0.0}
    watch.on_train_epoch_end(SimpleNamespace(current_epoch=0), None)  # type: ignore[arg-type]
    assert not watch.readback.notes


@pytest.mark.parametrize("method", list(HEADS))
def test_a_network_that_has_not_moved_is_not_taken_for_a_collapsed_one(method: str) -> None:
    """In training mode, as in a first step, on real scans."""
    blocks = {"optimizer": {"batch_size": 64}, "data": {"num_classes": 10}}
    cfg = run_config(method, backbone={"name": "resnet18"}, **blocks)
    cfg.method_kwargs.proj_output_dim = 128
    cfg = resolve(cfg)
    torch.manual_seed(0)
    model = get_method(method, "builtin")(cfg).train()
    _, views, _ = next(iter(build_pretrain(cfg).train_dataloader()))
    with torch.no_grad():
        z = model(views[0])["z"]
    std, rank = float(embedding_std(z)), float(rankme(z))
    assert std * 128**0.5 > 10 * LEAST_SPREAD
    assert rank > 2 * LEAST_RANK
    assert verdict(std, rank, *z.shape) == ""


WATCHED = {"health": {"enabled": True, "images": 64}, "log_every_n_steps": 1}


def test_a_run_measures_it_and_goes_on_as_if_never_interrupted(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    straight = pretrain(config(tmp_path / "straight", max_epochs=2, **WATCHED))
    cfg = config(tmp_path, max_epochs=2, auto_resume={"enabled": True}, **WATCHED)
    interrupted(monkeypatch, cfg, epoch=1, batch=2)
    done = pretrain(cfg)
    assert done["metrics"] == straight["metrics"]
    assert rows(done["directory"]) == rows(straight["directory"])
    metrics = result(Path(straight["directory"]))["metrics"]
    assert 1.5 < metrics["train_embedding_rank"] <= 16 * 1.001
    assert -4.2 < metrics["train_embedding_uniformity"] < 0
    assert 0 < metrics["train_embedding_alignment"] < 4
    assert "collapse" not in straight
    [last] = [r for r in rows(straight["directory"]) if r["train_embedding_rank"]][1:]
    assert float(last["train_embedding_rank"]) == metrics["train_embedding_rank"]


def test_equal_embeddings_are_a_collapse_that_the_record_names(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    """Of a projector whose last layer gives its bias, whatever it sees."""
    cfg = config(tmp_path, max_epochs=1, **WATCHED)
    build = methods.SimCLR.__init__

    def init(self: Any, given: Any) -> None:
        build(self, given)
        last = self.projector[-1].requires_grad_(False)
        last.weight.zero_()
        last.bias.fill_(1.0)

    monkeypatch.setattr(methods.SimCLR, "__init__", init)
    with caplog.at_level(logging.WARNING):
        done = pretrain(cfg)
    note = result(Path(done["directory"]))["collapse"]
    assert (note["kind"], note["epoch"], note["until"]) == ("collapsed", 0, None)
    assert note["std"] == pytest.approx(0.0, abs=1e-6)
    assert note["rank"] == pytest.approx(1.0, abs=1e-3)
    assert sum("the embeddings of epoch 1" in record.message for record in caplog.records) == 1

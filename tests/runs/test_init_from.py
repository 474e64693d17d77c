# SPDX-License-Identifier: MIT
"""``init_from``: a new run that begins with the weights of another one, and with nothing else."""

from __future__ import annotations

import logging
from pathlib import Path

import pytest
import torch

from mixmask_solo.config import ConfigError
from mixmask_solo.records.checkpoints import LAST, read_checkpoint
from mixmask_solo.runs.pretrain import pretrain
from support.runs import result, snapshot
from support.tiny import config, interrupted, weights


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
    with pytest.raises(ConfigError, match=r"init_from: checkpoint .* does not fit resnet18\.tv"):
        pretrain(config(tmp_path, init_from=source, backbone={"name": "resnet18.tv_in1k"}))
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

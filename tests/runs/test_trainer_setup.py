# SPDX-License-Identifier: MIT
"""What a configuration asks of the trainer and what a machine cannot give."""

from __future__ import annotations

import importlib.util
from pathlib import Path

import pytest
from lightning.fabric import accelerators as fabric
from lightning.pytorch import accelerators
from omegaconf import DictConfig, OmegaConf

from mixmask_solo.config import ConfigError
from mixmask_solo.runs.trainer import build_loggers, build_trainer, trainer_keys


def config(**keys: object) -> DictConfig:
    base = {
        "name": "x",
        "accelerator": "cpu",
        "devices": 1,
        "max_epochs": 1,
        "wandb": {"enabled": False, "entity": None, "project": "x", "offline": True},
    }
    return OmegaConf.create({**base, **keys})


@pytest.mark.skipif(importlib.util.find_spec("wandb") is not None, reason="wandb is installed")
def test_wandb_that_is_not_installed_is_one_line_with_the_remedy(tmp_path: Path) -> None:
    cfg = config(wandb={"enabled": True, "entity": None, "project": "x", "offline": True})
    with pytest.raises(ConfigError, match=r"wandb\.enabled .* pip install '\.\[wandb\]'"):
        build_loggers(cfg, tmp_path)


def test_csv_and_tensorboard_are_on_by_default(tmp_path: Path) -> None:
    names = [type(logger).__name__ for logger in build_loggers(config(), tmp_path)]
    assert names == ["MetricsCSV", "TensorBoardLogger"]


@pytest.mark.parametrize(
    ("keys", "fragment"),
    [
        ({"accelerator": "tpu"}, "accelerator=tpu"),
        ({"precision": "17"}, "precision=17"),
        ({"strategy": "dpd"}, "accelerator=cpu devices=1 precision=32 runs anywhere"),
    ],
)
def test_what_the_machine_cannot_do_is_one_line(keys: dict[str, object], fragment: str) -> None:
    with pytest.raises(ConfigError, match=fragment) as error:
        build_trainer(config(**keys), [])
    assert "\n" not in str(error.value)


def test_a_recipe_for_gpus_runs_with_accelerator_cpu_alone(
    caplog: pytest.LogCaptureFixture,
) -> None:
    cfg = config(sync_batchnorm=True)
    assert build_trainer(cfg, []).num_devices == 1
    assert cfg.sync_batchnorm is False
    assert "sync_batchnorm needs a GPU" in caplog.text


def test_auto_on_a_mac_is_the_cpu(monkeypatch: pytest.MonkeyPatch) -> None:
    for kind in (fabric.MPSAccelerator, accelerators.MPSAccelerator):
        monkeypatch.setattr(kind, "is_available", staticmethod(lambda: True))
    monkeypatch.setattr("torch.cuda.is_available", lambda: False)
    trainer = build_trainer(config(accelerator="auto"), [])
    assert type(trainer.accelerator) is accelerators.CPUAccelerator


def test_arguments_that_runs_decide_are_no_configuration_keys() -> None:
    keys = trainer_keys()
    assert "gradient_clip_val" in keys
    assert not {"callbacks", "logger", "plugins", "use_distributed_sampler", "self"} & set(keys)

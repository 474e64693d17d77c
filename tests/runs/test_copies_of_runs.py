# SPDX-License-Identifier: MIT
"""What a whole run trained can be pickled and copied, on the way and afterwards."""

from __future__ import annotations

import copy
import pickle
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch
from lightning.pytorch import Trainer
from omegaconf import DictConfig, OmegaConf

from mixmask_solo.records.checkpoints import LAST
from mixmask_solo.runs.linear import linear
from mixmask_solo.runs.pretrain import pretrain
from mixmask_solo.runs.trainer import Reseed
from support.methods import HEADS, run_config

KWARGS: dict[str, dict[str, Any]] = {
    "mocov2": {"bn_splits": 2, "symmetric": True},
    "simclr": {"head": "htdt"},
}
BLOCKS = {"mixmask": {"grid_size": 4, "per_sample": True}, "unmix": {}, "permutations": "different"}
Command = Callable[[DictConfig], dict[str, Any]]


def config(folder: Path, **more: Any) -> DictConfig:
    common = {
        "name": "copied",
        "data": {"dataset": "digits", "num_workers": 0},
        "scheduler": {"name": "warmup_cosine", "warmup_epochs": 1},
        "checkpoint": {"enabled": True, "dir": str(folder)},
        "max_epochs": 1,
        "accelerator": "cpu",
        "limit_train_batches": 2,
        "limit_val_batches": 1,
    }
    return OmegaConf.create({**common, **more})


def pretraining(folder: Path, method: str = "simclr") -> DictConfig:
    return run_config(
        method,
        {**KWARGS.get(method, {}), **BLOCKS},
        **config(folder),
        backbone={"kwargs": {"channels": [8, 8, 16, 16]}},
        augmentations=[{"crop_size": 16, "num_crops": 2}],
        knn_eval={"enabled": True, "k": 5},
    )


def trained(command: Command, cfg: DictConfig, patch: pytest.MonkeyPatch) -> tuple[Any, list[Any]]:
    """The model of a run, and copies made of it before its second step."""
    models, copies = [], []
    fit, start = Trainer.fit, Reseed.on_train_batch_start

    def watched(self: Trainer, model: Any, *args: Any, **kwargs: Any) -> None:
        models.append(model)
        fit(self, model, *args, **kwargs)

    def copied(self: Reseed, trainer: Any, module: Any, batch: Any, batch_idx: int) -> None:
        if batch_idx == 1:
            copies.extend([copy.deepcopy(module), pickle.loads(pickle.dumps(module))])
        start(self, trainer, module, batch, batch_idx)

    patch.setattr(Trainer, "fit", watched)
    patch.setattr(Reseed, "on_train_batch_start", copied)
    command(cfg)
    return models[0], copies


def assert_alike(models: list[Any], batch: list[Any]) -> float:
    """All have the same loss, and say which."""
    losses = []
    for model in models:
        model.trainer = None
        losses.append(model.train().training_step(copy.deepcopy(batch), 1).item())
    assert losses == losses[:1] * len(models)
    return float(losses[0])


@pytest.mark.filterwarnings("ignore")
@pytest.mark.parametrize("method", HEADS)
def test_a_pretrained_method(method: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    model, early = trained(pretrain, pretraining(tmp_path, method), monkeypatch)
    x, y = torch.rand(2, 8, 3, 16, 16), torch.arange(8)
    batch = [y, list(x), y]
    late = [copy.deepcopy(model), pickle.loads(pickle.dumps(model))]
    assert assert_alike([*late, model], batch) != assert_alike(early, batch)


@pytest.mark.filterwarnings("ignore")
@pytest.mark.parametrize(
    "more",
    [
        {"finetune": True, "mixup": 0.8, "cutmix": 1.0},
        {"label_smoothing": 0.1},
        {"probe": {"features": "cached"}},
    ],
)
def test_a_trained_probe(
    more: dict[str, Any], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    source = Path(pretrain(pretraining(tmp_path))["directory"]) / LAST
    optimizer = {"name": "sgd", "batch_size": 8, "lr": 0.1}
    cfg = config(tmp_path, pretrained_feature_extractor=str(source), optimizer=optimizer, **more)
    model, early = trained(linear, cfg, monkeypatch)
    x = torch.rand(8, 16) if "probe" in more else torch.rand(8, 3, 16, 16)
    late = [copy.deepcopy(model), pickle.loads(pickle.dumps(model))]
    batch = [x, torch.arange(8)]
    assert assert_alike([*late, model], batch) != assert_alike(early, batch)


@pytest.mark.filterwarnings("ignore")
def test_a_run_that_failed_leaves_nothing_on_its_method(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    models = []

    def fail(self: Reseed, trainer: Any, module: Any, batch: Any, batch_idx: int) -> None:
        models.append(module)
        raise RuntimeError("power cut")

    monkeypatch.setattr(Reseed, "on_train_batch_start", fail)
    with pytest.raises(RuntimeError, match="power cut"):
        pretrain(pretraining(tmp_path))
    [model] = models
    assert [name for name, m in model.named_modules() if m._forward_hooks] == []
    assert type(pickle.loads(pickle.dumps(model))) is type(model)

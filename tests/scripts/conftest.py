# SPDX-License-Identifier: MIT
"""Files under scripts/, composed as the commands compose them."""

from __future__ import annotations

from collections.abc import Callable
from copy import deepcopy
from functools import cache, lru_cache
from pathlib import Path

import pytest
import torch
from omegaconf import DictConfig

from mixmask_solo.cli.compose import compose
from mixmask_solo.runs.pretrain import resolve
from support.saliency import run_folder, torchvisions

SCRIPTS = Path(__file__).parents[2] / "scripts"

Recipe = Callable[..., DictConfig]

composed = lru_cache(maxsize=None)(compose)  # a tenth of a second each, and never changed


@cache
def _resolved(folder: str, name: str, overrides: tuple[str, ...]) -> DictConfig:
    return resolve(composed(folder, name, overrides))


@pytest.fixture
def eight_gpus(monkeypatch: pytest.MonkeyPatch) -> None:
    """A machine that any recipe may ask for; nothing is run on it."""
    monkeypatch.setattr(torch.cuda, "device_count", lambda: 8)


@pytest.fixture(scope="session")
def localizers(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder with torchvision's weights of a ResNet-50, and ``run``, an earlier run on digits."""
    folder = tmp_path_factory.mktemp("localizers")
    torchvisions(folder)
    run_folder(folder / "run")
    return folder


@pytest.fixture
def recipe(eight_gpus: None, localizers: Path, monkeypatch: pytest.MonkeyPatch) -> Recipe:
    """``recipe("cifar", "byol_mixmask", "seed=1")``: composed, checked, completed."""
    monkeypatch.setenv("TORCH_HOME", str(localizers))

    def load(dataset: str, name: str, *overrides: str) -> DictConfig:
        if (dataset, name) == ("digits", "mocov2plus_saliency"):
            run = f"method_kwargs.saliency.localizer.from_run={localizers / 'run'}"
            overrides = (run, *overrides)
        return deepcopy(_resolved(str(SCRIPTS / "pretrain" / dataset), name, overrides))

    return load

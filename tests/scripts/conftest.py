# SPDX-License-Identifier: MIT
"""Files under scripts/, composed as the commands compose them."""

from __future__ import annotations

from collections.abc import Callable
from functools import lru_cache
from pathlib import Path

import pytest
import torch
from omegaconf import DictConfig

from mixmask_solo.cli.compose import compose
from mixmask_solo.runs.pretrain import resolve

SCRIPTS = Path(__file__).parents[2] / "scripts"

Recipe = Callable[..., DictConfig]

composed = lru_cache(maxsize=None)(compose)  # a tenth of a second each, and never changed


@pytest.fixture
def eight_gpus(monkeypatch: pytest.MonkeyPatch) -> None:
    """A machine that any recipe may ask for; nothing is run on it."""
    monkeypatch.setattr(torch.cuda, "device_count", lambda: 8)


@pytest.fixture
def recipe(eight_gpus: None) -> Recipe:
    """``recipe("cifar", "byol_mixmask", "seed=1")``: composed, checked, completed."""

    def load(dataset: str, name: str, *overrides: str) -> DictConfig:
        return resolve(composed(str(SCRIPTS / "pretrain" / dataset), name, overrides))

    return load

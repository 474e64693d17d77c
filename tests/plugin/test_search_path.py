# SPDX-License-Identifier: MIT
"""Hydra finds the plugin, and through it our groups, behind the user's own."""

from __future__ import annotations

import pkgutil
from configparser import ConfigParser
from importlib import import_module
from pathlib import Path
from typing import Any

import pytest
from hydra import compose, initialize_config_dir
from hydra.core.plugins import Plugins
from hydra.plugins.search_path_plugin import SearchPathPlugin
from omegaconf import OmegaConf

from mixmask_solo.strategies import blocks

PLUGIN = "hydra_plugins.mixmask_solo_plugin"


def composed(folder: Path, *overrides: str) -> Any:
    with initialize_config_dir(str(folder), version_base="1.2"):
        return OmegaConf.to_container(compose("mine", overrides=list(overrides)))


@pytest.fixture
def mine(tmp_path: Path) -> Path:
    """A user's folder with a file that has never heard of us."""
    (tmp_path / "mine.yaml").write_text("method_kwargs:\n  proj_hidden_dim: 8\n")
    return tmp_path


def test_hydra_lists_the_module_and_takes_its_class() -> None:
    namespace = import_module("hydra_plugins")
    assert PLUGIN in {m.name for m in pkgutil.walk_packages(namespace.__path__, "hydra_plugins.")}
    names = {plugin.__name__ for plugin in Plugins.instance().discover(SearchPathPlugin)}
    assert "MixMaskSearchPath" in names


@pytest.mark.parametrize(
    ("override", "block"),
    [
        ("+mixmask=cifar", {"grid_size": 2, "mask_type": "discrete"}),
        ("+mixmask=tiny-imagenet", {"grid_size": 4, "mask_type": "block"}),
        ("+mixmask=imagenet", {"grid_size": 8, "mask_type": "block"}),
        ("+unmix=published", {"prob": 0.5, "beta": 1.0}),
    ],
)
def test_a_group_is_one_argument_on_the_command_line(mine: Path, override: str, block: Any) -> None:
    name = override[1:].partition("=")[0]
    assert name in blocks()
    assert composed(mine, override)["method_kwargs"] == {"proj_hidden_dim": 8, name: block}


def test_a_group_can_stand_in_the_users_own_defaults(mine: Path) -> None:
    own = (mine / "mine.yaml").read_text()
    head = "defaults:\n  - /augmentations: imagenet_moco\n  - /mixmask: imagenet\n  - _self_\n"
    (mine / "mine.yaml").write_text(head + own)
    cfg = composed(mine)
    assert cfg["augmentations"][0]["crop_size"] == 224
    assert cfg["method_kwargs"]["mixmask"]["grid_size"] == 8


def test_a_users_group_of_the_same_name_goes_before_ours(mine: Path) -> None:
    (mine / "mixmask").mkdir()
    (mine / "mixmask" / "imagenet.yaml").write_text(
        "# @package method_kwargs.mixmask\ngrid_size: 16\n"
    )
    assert composed(mine, "+mixmask=imagenet")["method_kwargs"]["mixmask"] == {"grid_size": 16}


def test_the_distribution_ships_the_plugin() -> None:
    """An ``__init__.py`` would hide other people's plugins; see setup.cfg for ``package_dir``."""
    root = Path(__file__).parents[2]
    metadata = ConfigParser()
    metadata.read(root / "setup.cfg")
    assert metadata["options"]["py_modules"] == PLUGIN
    assert metadata["options"]["package_dir"].strip() == "= ."
    assert not (root / "hydra_plugins" / "__init__.py").exists()

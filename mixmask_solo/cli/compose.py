# SPDX-License-Identifier: MIT
"""A composed configuration without a Hydra application around it."""

from __future__ import annotations

import argparse
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING

from mixmask_solo.config import ConfigError

if TYPE_CHECKING:
    from omegaconf import DictConfig

__all__ = ["add_config_arguments", "compose"]


def add_config_arguments(
    parser: argparse.ArgumentParser, *, path: str | None = None, name: str | None = None
) -> None:
    """The three arguments that name a configuration, as the Hydra commands take them."""
    parser.add_argument(
        "--config-path",
        default=path,
        required=path is None,
        metavar="FOLDER",
        help="relative to the current folder",
    )
    parser.add_argument(
        "--config-name", default=name, required=name is None, metavar="FILE", help="YAML file"
    )
    parser.add_argument("overrides", nargs="*", metavar="key=value", help="override a key")


def compose(path: str, name: str, overrides: Sequence[str] = ()) -> DictConfig:
    """Composes ``path/name.yaml`` with overrides.

    Raises:
        ConfigError: when there is no such file, or Hydra cannot compose it.
    """
    from hydra import compose as hydra_compose
    from hydra import initialize_config_dir
    from hydra.errors import HydraException
    from omegaconf.errors import OmegaConfBaseException

    folder = Path(path).expanduser().resolve()
    if not folder.is_dir():
        raise ConfigError(f"--config-path {path}: no such folder (looked for {folder})")
    try:
        with initialize_config_dir(str(folder), version_base="1.3"):
            return hydra_compose(name, overrides=list(overrides))
    except (HydraException, OmegaConfBaseException) as error:
        raise ConfigError(" ".join(str(error).split())) from error

# SPDX-License-Identifier: MIT
"""Configurations from command lines, and command lines to paste."""

import argparse
import re
import shlex
from collections.abc import Sequence
from pathlib import Path

from omegaconf import DictConfig

from mixmask_solo.config import ConfigError
from mixmask_solo.config.override import hydra_value

_RESUME = "resume_from_checkpoint"
# What would contradict the new override, or turn a job into the sweep that it came from.
_DROPPED = re.compile(rf"[~+]*({_RESUME}|auto_resume(\.\w+)*)(=.*)?|-m|--multirun", re.DOTALL)


def add_config_arguments(
    parser: argparse.ArgumentParser, *, path: str | None = None, name: str | None = None
) -> None:
    """The three arguments that name a configuration, as the Hydra commands take them."""
    add, where = parser.add_argument, "relative to the current folder"
    add("--config-path", default=path, required=path is None, metavar="FOLDER", help=where)
    add("--config-name", default=name, required=name is None, metavar="FILE", help="YAML file")
    add("overrides", nargs="*", metavar="key=value", help="override a key")


def config_folder(path: str) -> Path:
    """The folder of ``--config-path``; raises ConfigError where there is none."""
    folder = Path(path).expanduser().resolve()
    if not folder.is_dir():
        raise ConfigError(f"--config-path {path}: no such folder (looked for {folder})")
    return folder


def compose(path: str, name: str, overrides: Sequence[str] = ()) -> DictConfig:
    """Composes ``path/name.yaml`` with overrides, without a Hydra application around it.

    Raises ConfigError when there is no such file, or Hydra cannot compose it.
    """
    from hydra import compose as hydra_compose
    from hydra import initialize_config_dir
    from hydra.errors import HydraException
    from omegaconf.errors import OmegaConfBaseException
    from yaml import YAMLError

    from mixmask_solo.cli.composing import explain

    folder = config_folder(path)
    try:
        with initialize_config_dir(str(folder), version_base="1.3"):
            cfg = hydra_compose(name, overrides=list(overrides))
    except (HydraException, OmegaConfBaseException, YAMLError) as error:
        raise ConfigError(explain(error, str(folder), name, overrides)) from error
    refuse_empty_blocks(cfg, overrides)
    return cfg


def refuse_empty_blocks(cfg: DictConfig, overrides: Sequence[str]) -> None:
    """Raises ConfigError for a strategy's block without a value that a file, not the user here, has
    left so: it would be the method alone without a word."""
    from mixmask_solo.strategies import blocks

    kwargs = cfg.get("method_kwargs") or {}
    for name in blocks():
        key = f"method_kwargs.{name}"
        said = any(o.lstrip("+").startswith(f"{key}=") for o in overrides)
        if name in kwargs and kwargs[name] is None and not said:
            raise ConfigError(
                f"{key} is empty: write '{name}: {{}}' for its defaults, or remove the line; as an "
                f"argument, {key}=null switches the block off"
            )


def resume_command(command: str, arguments: Sequence[str], checkpoint: str) -> str:
    """A line for the shell that goes on from ``checkpoint`` with the arguments the user gave."""
    kept = [argument for argument in arguments if not _DROPPED.fullmatch(argument)]
    return shlex.join([command, *kept, f"++{_RESUME}={hydra_value(checkpoint)}"])

# SPDX-License-Identifier: MIT
"""The jobs of a sweep, as Hydra's own sweeper makes them out of a command line."""

from __future__ import annotations

import argparse
from collections.abc import Sequence
from itertools import product
from typing import Any, NamedTuple

from omegaconf import OmegaConf

from mixmask_solo.config import ConfigError

__all__ = ["Plan", "expand", "parse"]

_BASIC = ("BasicSweeper", "BasicLauncher")


class Plan(NamedTuple):
    """One job: all its arguments, and those of them that differ between jobs."""

    arguments: list[str]
    swept: list[str]


def parse(arguments: Sequence[str]) -> argparse.Namespace:
    """Hydra's options and the overrides."""
    from hydra._internal.utils import get_args_parser

    args: argparse.Namespace = get_args_parser().parse_args(list(arguments))
    return args


def expand(args: argparse.Namespace) -> list[Plan] | None:
    """The jobs, the last key changing fastest; None where another sweeper or launcher is chosen.

    What is the same for all jobs is composed here, so that a mistake in it stops all of them.

    Args:
        args: as ``parse`` returns them.

    Raises:
        HydraException: for a configuration that cannot be composed.
        ConfigError: for an interval, which has no end of values.
    """
    loader, cfg = _compose(args)
    chosen = (cfg.hydra.sweeper._target_, cfg.hydra.launcher._target_)
    if tuple(target.rpartition(".")[2] for target in chosen) != _BASIC:
        return None
    in_files: Any = OmegaConf.to_container(cfg.hydra.sweeper)
    common = [f"--config-name={args.config_name}"]
    common += [f"--config-path={args.config_path}"] if args.config_path else []
    common += [f"--config-dir={args.config_dir}"] if args.config_dir else []
    common += [o for o in cfg.hydra.overrides.hydra if not o.startswith("hydra.mode=")]
    common += ["hydra.mode=RUN"] if cfg.hydra.mode else []
    overrides = [
        *(f"{k}={v}" for k, v in (in_files["params"] or {}).items()),
        *cfg.hydra.overrides.task,
    ]
    choices = _choices(loader, overrides)
    swept = {key for key, values in choices.items() if len(values) > 1}
    jobs = [dict(zip(choices, values, strict=True)) for values in product(*choices.values())]
    return [
        Plan([*common, *job.values()], [job[key] for key in job if key in swept]) for job in jobs
    ]


def _compose(args: argparse.Namespace) -> tuple[Any, Any]:
    from hydra._internal.hydra import Hydra
    from hydra._internal.utils import create_config_search_path
    from hydra.core.global_hydra import GlobalHydra
    from hydra.types import RunMode

    path = create_config_search_path(args.config_path)
    if args.config_dir:
        path.prepend("command-line", f"file://{args.config_dir}")
    hydra = Hydra.create_main_hydra2("sweep", path)
    try:
        cfg = hydra.compose_config(
            args.config_name, args.overrides, RunMode.MULTIRUN, with_log_configuration=False
        )
        return hydra.config_loader, cfg
    finally:
        GlobalHydra.instance().clear()


def _choices(loader: Any, overrides: Sequence[str]) -> dict[str, list[str]]:
    """For each key all overrides of it; where a key is given twice the later one counts."""
    from hydra.core.override_parser.overrides_parser import OverridesParser

    choices: dict[str, list[str]] = {}
    for override in OverridesParser.create(loader).parse_overrides(list(overrides)):
        key = override.get_key_element()
        if not override.is_sweep_override():
            choices[key] = [str(override.input_line)]
        elif override.is_discrete_sweep():
            choices[key] = [f"{key}={value}" for value in override.sweep_string_iterator()]
            if not choices[key]:
                raise ConfigError(f"{override.input_line}: nothing matches it")
        else:
            raise ConfigError(f"{override.input_line}: a sweep takes values, not an interval")
    return choices

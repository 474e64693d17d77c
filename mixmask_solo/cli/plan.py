# SPDX-License-Identifier: MIT
"""The jobs of a command line that gives keys several values.

They are those that Hydra's own sweeper makes out of it.
"""

from collections.abc import Sequence
from itertools import product
from typing import Any, NamedTuple

from mixmask_solo.config import ConfigError

_BASIC = ["BasicSweeper", "BasicLauncher"]


class Planned(NamedTuple):
    """One job: all its arguments, and those of them that differ between jobs."""

    arguments: list[str]
    swept: list[str]


def expand(arguments: Sequence[str]) -> list[Planned] | None:
    """The jobs of a command line, the last key changing fastest.

    None where no sweep is asked for, or another sweeper or launcher is chosen. What is the same
    for all jobs is composed here, so that a mistake in it stops all of them: HydraException, or
    ConfigError for an interval, which has no end of values.
    """
    from hydra._internal.utils import get_args_parser

    args: Any = get_args_parser().parse_args(list(arguments))
    if not (args.multirun or "hydra.mode=MULTIRUN" in args.overrides):
        return None
    loader, cfg = _compose(args)
    chosen = (cfg.hydra.sweeper._target_, cfg.hydra.launcher._target_)
    if [target.rpartition(".")[2] for target in chosen] != _BASIC:
        return None
    named = {"name": args.config_name, "path": args.config_path, "dir": args.config_dir}
    common = [f"--config-{what}={value}" for what, value in named.items() if value]
    common += [o for o in cfg.hydra.overrides.hydra if not o.startswith("hydra.mode=")]
    common += ["hydra.mode=RUN"] if cfg.hydra.mode else []
    overrides = [f"{key}={value}" for key, value in (cfg.hydra.sweeper.params or {}).items()]
    choices = _choices(loader, [*overrides, *cfg.hydra.overrides.task])
    swept = [len(values) > 1 for values in choices]
    return [
        Planned([*common, *job], [o for o, differs in zip(job, swept, strict=True) if differs])
        for job in product(*choices)
    ]


def expand_words(arguments: Sequence[str]) -> list[tuple[list[str], list[str]]]:
    """The same for the script of others, whose configuration is not composed here.

    Returns each job's arguments, and those of them that differ. Raises HydraException.
    """
    words = [
        _choices(None, [word])[0] if "=" in word and not word.startswith("-") else [word]
        for word in arguments
    ]
    return [
        (list(job), [w for w, all_ in zip(job, words, strict=True) if len(all_) > 1])
        for job in product(*words)
    ]


def _compose(args: Any) -> tuple[Any, Any]:
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


def _choices(loader: Any, overrides: Sequence[str]) -> list[list[str]]:
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
    return list(choices.values())

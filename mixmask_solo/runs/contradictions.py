# SPDX-License-Identifier: MIT
"""May a run go on from this checkpoint? What it would record has to be what it does."""

from __future__ import annotations

import logging
from collections.abc import Callable
from pathlib import Path
from typing import Any

from mixmask_solo.config import ConfigError
from mixmask_solo.config.devices import count_devices
from mixmask_solo.records.checkpoints import META, stored_config
from mixmask_solo.runs.compare import Difference, differences, is_applied
from mixmask_solo.runs.run import Run

__all__ = ["Completed", "refuse_contradictions"]

log = logging.getLogger(__name__)

Completed = Callable[[dict[str, Any]], dict[str, Any]]


def refuse_contradictions(
    run: Run, content: dict[str, Any], path: Path, complete: Completed
) -> None:
    """Compares a checkpoint with the run that is to go on from it.

    Optimiser, schedule, order of the images and position come from the checkpoint, the rest from
    the configuration. A key that only the checkpoint decides must therefore agree. Those that take
    effect as they would on a new run may change; they are told.

    Args:
        run: what the user asks for.
        content: the checkpoint.
        path: its file.
        complete: fills defaults that a stored configuration lacks.

    Raises:
        ConfigError: naming the first key that contradicts, with both values.
    """
    if not content.get("optimizer_states") or "loops" not in content:
        raise ConfigError(
            f"resume_from_checkpoint '{path}' holds weights only, no optimiser state: use it with "
            "init_from, mixmask-linear or mixmask-knn, or resume from a full checkpoint"
        )
    told = content.get(META) or {}
    old = stored_config(content, path)
    if old is None:
        raise ConfigError(
            f"checkpoint '{path}' does not tell the configuration it was made with, and there is "
            f"no args.json beside it: put that there, or {_instead(run)}"
        )
    old = complete(old)
    before = {**old, "processes": told.get("processes") or _processes(old)}
    for found in differences(before, {**run.config, "processes": run.processes}):
        if found.key == "init_from" and found.new is None:
            run.cfg.init_from = found.old  # how it began remains true
        else:
            _judge(run, found, path)
    if told.get("host", run.host) != run.host:
        raise _error(run, path, Difference("host", told["host"], run.host))
    _compare_data(run, told.get("data") or {}, path)


def _judge(run: Run, found: Difference, path: Path) -> None:
    if found.key == "processes":
        raise ConfigError(
            f"devices x num_nodes gives {found.new} process{'es' * (found.new > 1)}, but "
            f"checkpoint '{path}' was made with {found.old}, and its schedule and its place in the "
            f"epoch count steps of {found.old} x optimizer.batch_size images: use {found.old} "
            f"(for instance devices={found.old}), or {_instead(run)}"
        )
    scheduler = run.cfg.scheduler.name
    restored = run.host == "solo" and scheduler == "warmup_cosine"  # its state holds the length
    if not is_applied(found.key) or (found.key == "max_epochs" and restored):
        raise _error(run, path, found)
    log.info("resuming with %s=%s (the checkpoint was made with %s)", *_shown(found))


def _error(run: Run, path: Path, found: Difference) -> ConfigError:
    key, new, old = _shown(found)
    was = "without it" if found.old is None else f"with {old}"
    right = f"leave {key} out" if found.old is None else f"give {key}={old}"
    return ConfigError(
        f"{key} is {new}, but checkpoint '{path}' was made {was}, and resuming would not "
        f"change that: {right}, or {_instead(run)}"
    )


def _instead(run: Run) -> str:
    pretrains = "method" in run.cfg
    return "take its weights into a new run with init_from" if pretrains else "start a new run"


def _shown(found: Difference) -> tuple[str, str, str]:
    return found.key, _text(found.new), _text(found.old)


def _text(value: Any) -> str:
    if isinstance(value, dict):
        return f"{{{', '.join(f'{k}: {_text(v)}' for k, v in value.items() if v is not None)}}}"
    return "not set" if value is None else str(value)


def _processes(config: dict[str, Any]) -> int:
    devices: Any = config.get("devices", 1)
    if isinstance(devices, str) and devices.isdecimal():
        devices = int(devices)
    return count_devices(devices, None) * int(config.get("num_nodes") or 1)


_WHAT = {"weights": "pretrained weights", "init_from": "weights of init_from"}


def _compare_data(run: Run, old: dict[str, Any], path: Path) -> None:
    for part, was in old.items():
        now = run.data.get(part)
        if now is None and part == "init_from":
            run.data[part] = was  # a run begins once: how it did remains true
            continue
        if now is None and part == "val":  # not validating any more changes nothing
            continue
        for key in was:
            if was[key] != (now or {}).get(key):
                told = f"{(now or {}).get(key)} {key} now, {was[key]} then"
                told = told if key in ("images", "classes") else f"other {key}"
                raise ConfigError(
                    f"the {_WHAT.get(part, f'{part} images')} are not those that checkpoint "
                    f"'{path}' was made with ({told}): give those, or {_instead(run)}"
                )

# SPDX-License-Identifier: MIT
"""May a run go on from this checkpoint? What it would record has to be what it does."""

import logging
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

from mixmask_solo.config import ConfigError
from mixmask_solo.config.free import APPLIED, FREE, Difference, under, walk
from mixmask_solo.config.rules import count_devices, read_devices
from mixmask_solo.records.checkpoints import META, stored_config
from mixmask_solo.runs.run import Run

log = logging.getLogger(__name__)

Completed = Callable[[dict[str, Any]], dict[str, Any]]

# Told first: what follows from these differs, too.
_FIRST = (
    *("method", "backbone", "method_kwargs.mixmask", "method_kwargs.unmix", "method_kwargs"),
    *("data.dataset", "processes", "optimizer.batch_size", "accumulate_grad_batches"),
    *("optimizer.name", "optimizer.lr"),
)


def differences(old: Mapping[str, Any], new: Mapping[str, Any]) -> list[Difference]:
    """The keys that matter in which two resolved configurations differ, causes first.

    Null and absent mean the same. ``processes`` may be added to both; learning rates are told per
    256 images, as the user gives them.
    """

    def place(found: Difference) -> tuple[int, str]:
        causes = (i for i, first in enumerate(_FIRST) if under(found.key, (first,)))
        return next(causes, len(_FIRST)), found.key

    found = walk(_unscaled(old), _unscaled(new), "")
    return sorted((d for d in found if not under(d.key, FREE)), key=place)


def _unscaled(config: Mapping[str, Any]) -> dict[str, Any]:
    """Learning rates as they are written, whatever the number of processes."""
    if "max_steps" in config:  # nothing scales those of detection
        return {**config}
    optimizer = dict(config.get("optimizer") or {})
    images = int(optimizer.get("batch_size") or 256) * int(config.get("processes") or 1)
    data = config.get("data") or {}
    validates = data.get("val_path") is not None or data.get("dataset") == "digits"
    for name in ("lr", "classifier_lr") if validates else ("lr",):
        if name in optimizer:
            optimizer[name] = per_256(optimizer[name], images)
    return {**config, "optimizer": optimizer}


def per_256(lr: Any, images: int) -> Any:
    """A resolved learning rate, or a list of them, as it is written; ``images``: global batch."""
    if isinstance(lr, list):
        return [per_256(one, images) for one in lr]
    return float(f"{lr * 256 / images:.10g}") if isinstance(lr, (int, float)) else lr


def refuse_contradictions(
    run: Run, content: dict[str, Any], path: Path, completed: Completed
) -> None:
    """Compares a checkpoint with the run that is to go on from it.

    Raises ConfigError for the first key that only the checkpoint decides, as it does optimiser,
    schedule, order of the images and position. Those that take effect as on a new run may change.
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
    old = completed(old)
    before = {**old, "processes": told.get("processes") or _processes(old)}
    for found in differences(before, {**run.config, "processes": run.processes}):
        if found.key == "init_from" and found.new is None:
            run.cfg.init_from = found.old  # how it began remains true
        else:
            _judge(run, found, path)
    if told.get("host", run.host) != run.host:
        raise _error(run, Difference("host", told["host"], run.host), path)
    _compare_data(run, told.get("data") or {}, path)


def _processes(config: dict[str, Any]) -> int:
    devices = read_devices(config.get("devices") or 1, "gpu", None)
    return count_devices(devices, None) * int(config.get("num_nodes") or 1)


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
    if not under(found.key, APPLIED) or (found.key == "max_epochs" and restored):
        raise _error(run, found, path)
    new, old = _text(found.new), _text(found.old)
    log.info("resuming with %s=%s (the checkpoint was made with %s)", found.key, new, old)


def _error(run: Run, found: Difference, path: Path) -> ConfigError:
    key, old = found.key, _text(found.old)
    was = "without it" if found.old is None else f"with {old}"
    right = f"leave {key} out" if found.old is None else f"give {key}={old}"
    return ConfigError(
        f"{key} is {_text(found.new)}, but checkpoint '{path}' was made {was}, and resuming would "
        f"not change that: {right}, or {_instead(run)}"
    )


def _instead(run: Run) -> str:
    pretrains = "method" in run.cfg
    return "take its weights into a new run with init_from" if pretrains else "start a new run"


def _text(value: Any) -> str:
    if isinstance(value, dict):
        return f"{{{', '.join(f'{k}: {_text(v)}' for k, v in value.items() if v is not None)}}}"
    return "not set" if value is None else str(value)


def _compare_data(run: Run, old: dict[str, Any], path: Path) -> None:
    names = {"weights": "pretrained weights", "init_from": "weights of init_from"}
    for part, was in old.items():
        now = run.data.get(part)
        if now is None and part == "init_from":
            run.data[part] = was  # a run begins once: how it did remains true
        if now is None and part in ("init_from", "val"):  # not validating any more changes nothing
            continue
        for key in was:
            if was[key] != (now or {}).get(key):
                told = f"{(now or {}).get(key)} {key} now, {was[key]} then"
                told = told if key in ("images", "classes") else f"other {key}"
                raise ConfigError(
                    f"the {names.get(part, f'{part} images')} are not those that checkpoint "
                    f"'{path}' was made with ({told}): give those, or {_instead(run)}"
                )

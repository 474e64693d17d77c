# SPDX-License-Identifier: MIT
"""Which checkpoint a run goes on from, and whether it may."""

from __future__ import annotations

import json
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from omegaconf import DictConfig, OmegaConf

from mixmask_solo.config import ConfigError
from mixmask_solo.records.checkpoints import LAST, read_checkpoint, stored_config
from mixmask_solo.records.result import RESULT

__all__ = ["differences", "find_run", "resume_point"]

# Keys that may differ between a run and its continuation: where things lie and how the run is
# watched. Everything else, `method_kwargs` included, must match.
_FREE = (
    "accelerator",
    "auto_resume",
    "checkpoint",
    "check_val_every_n_epoch",
    "data.download",
    "data.num_workers",
    "data.resident_on",
    "data.train_path",
    "data.val_path",
    "enable_model_summary",
    "enable_progress_bar",
    "host",
    "knn_eval",
    "log_every_n_steps",
    "name",
    "profiler",
    "resume_from_checkpoint",
    "wandb",
    "wandb_run_id",
)
_IDENTITY = ("method", "backbone", "method_kwargs", "momentum", "optimizer.name")


def _flat(node: Any, prefix: str = "") -> Iterator[tuple[str, Any]]:
    if isinstance(node, dict) and node:
        for key, value in node.items():
            yield from _flat(value, f"{prefix}.{key}" if prefix else str(key))
    else:
        yield prefix, node


def _under(name: str, keys: tuple[str, ...]) -> bool:
    return any(name == key or name.startswith(f"{key}.") for key in keys)


def differences(old: dict[str, Any], new: dict[str, Any]) -> list[str]:
    """Full keys in which two resolved configurations differ and must not."""
    a, b = dict(_flat(old)), dict(_flat(new))
    missing = object()
    # {} and an absent key mean the same: nothing set.
    unequal = [
        k
        for k in sorted(a.keys() | b.keys())
        if a.get(k, missing) != b.get(k, missing) and (a.get(k) or b.get(k))
    ]
    return [k for k in unequal if not _under(k, _FREE)]


def find_run(cfg: DictConfig, root: Path) -> Path | None:
    """Newest unfinished run under ``root`` with the same configuration, for ``auto_resume``.

    Args:
        cfg: the resolved configuration; ``auto_resume.max_hours`` bounds the age.
        root: folder of the method's runs.
    """
    new = OmegaConf.to_container(cfg, resolve=True)
    oldest = time.time() - 3600 * float(cfg.auto_resume.max_hours)
    candidates = [p for p in root.glob(f"*/{LAST}") if p.stat().st_mtime >= oldest]
    for last in sorted(candidates, key=lambda p: p.stat().st_mtime, reverse=True):
        args = last.parent / "args.json"
        if _completed(last.parent) or not args.is_file():
            continue
        try:
            old = json.loads(args.read_text())
        except ValueError:
            continue
        if not differences(old, new):  # type: ignore[arg-type]
            return last
    return None


def _completed(directory: Path) -> bool:
    try:
        status = json.loads((directory / RESULT).read_text())["status"]
    except (OSError, ValueError, KeyError):
        return False
    return bool(status == "completed")


def resume_point(cfg: DictConfig, path: str) -> Path:
    """Checks that ``resume_from_checkpoint`` belongs to this configuration.

    Raises:
        ConfigError: naming the first key in which they differ.
    """
    checkpoint = read_checkpoint(path)
    old = stored_config(checkpoint, path)
    if old is not None:
        new: Any = OmegaConf.to_container(cfg, resolve=True)
        identity = [k for k in differences(old, new) if _under(k, _IDENTITY)]
        if identity:
            key = identity[0]
            was, now = (dict(_flat(c)).get(key, "not set") for c in (old, new))
            raise ConfigError(
                f"resume_from_checkpoint '{path}' was made with {key}={was}, this run has "
                f"{key}={now}: resume with the original configuration or start a new run"
            )
    if "optimizer_states" not in checkpoint:
        raise ConfigError(
            f"resume_from_checkpoint '{path}' holds weights only, no optimiser state: use it with "
            "mixmask-linear or mixmask-knn, or resume from a full checkpoint"
        )
    return Path(path)

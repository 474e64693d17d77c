# SPDX-License-Identifier: MIT
"""``result.json``: what a run was, what it ran on, what came out."""

from __future__ import annotations

import platform
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path
from typing import Any

import torch
from omegaconf import DictConfig, OmegaConf

from mixmask_solo.records.files import write_json

__all__ = ["RESULT", "plain_metrics", "versions", "write_result"]

RESULT = "result.json"
_PACKAGES = ("mixmask_solo", "torch", "torchvision", "lightning", "timm", "torchmetrics")


def versions() -> dict[str, str]:
    """Versions of everything a number may depend on, and the device."""
    found = {"python": platform.python_version()}
    for package in _PACKAGES:
        try:
            found[package] = version(package)
        except PackageNotFoundError:
            found[package] = "not installed"
    found["device"] = (
        torch.cuda.get_device_name() if torch.cuda.is_available() else platform.processor() or "cpu"
    )
    return found


def plain_metrics(metrics: dict[str, Any]) -> dict[str, float]:
    """Logged metrics as floats; where both are there, an epoch's mean stands for its last step."""
    plain = {k: float(v) for k, v in metrics.items() if not k.endswith(("_step", "_epoch"))}
    for name, value in metrics.items():
        if name.endswith("_epoch"):
            plain[name.removesuffix("_epoch")] = float(value)
    return dict(sorted(plain.items()))


def write_result(
    directory: Path,
    *,
    status: str,
    config: DictConfig,
    metrics: dict[str, float],
    seconds: float,
    **more: Any,
) -> dict[str, Any]:
    """Writes ``result.json`` and returns its content.

    Args:
        directory: the run's folder.
        status: ``completed``, ``interrupted`` or ``failed``.
        config: the resolved configuration.
        metrics: name to value, percentages for accuracies.
        seconds: wall time.
        more: further plain values, such as ``images_per_second``.
    """
    result = {
        "status": status,
        "metrics": metrics,
        "wall_seconds": round(seconds, 3),
        **more,
        "seed": config.get("seed"),
        "versions": versions(),
        "config": OmegaConf.to_container(config, resolve=True),
    }
    write_json(directory / RESULT, result)
    return result

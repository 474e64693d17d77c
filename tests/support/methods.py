# SPDX-License-Identifier: MIT
"""Small configurations of every method: of a class, of a whole run, of solo-learn's golden step."""

from __future__ import annotations

import json
from collections.abc import Mapping
from typing import Any

from omegaconf import DictConfig, OmegaConf

__all__ = ["HEADS", "NARROW", "NARROW_WORDS", "golden_config", "method_config", "run_config"]

# A tenth of the recipes' time: most tests are about everything but the network.
NARROW = {"channels": [8, 8, 16, 16], "stem_width": 4}
NARROW_WORDS = ("++backbone.kwargs.channels=[8,8,16,16]", "++backbone.kwargs.stem_width=4")

_HIDDEN = {"proj_hidden_dim": 32, "proj_output_dim": 16}
_MOCO = {"proj_output_dim": 16, "temperature": 0.2, "queue_size": 64}
HEADS: dict[str, dict[str, Any]] = {
    "byol": {**_HIDDEN, "pred_hidden_dim": 32},
    "mocov2": {**_MOCO, "projector": "linear"},
    "mocov2plus": {**_HIDDEN, **_MOCO},
    "simclr": {**_HIDDEN, "temperature": 0.2},
    "simsiam": {**_HIDDEN, "pred_hidden_dim": 16},
}
_OPTIMIZER = {"name": "sgd", "lr": 0.1, "classifier_lr": 0.1, "weight_decay": 0.0}


def method_config(method: str, kwargs: dict[str, Any] | None = None, **blocks: Any) -> DictConfig:
    """What a class is built from, with the values that a run derives.

    Args:
        method: a key of ``HEADS``.
        kwargs: more ``method_kwargs``.
        blocks: more of other blocks, or other keys.
    """
    base = {
        "method": method,
        "seed": 1,
        "backbone": {"name": "resnet18", "kwargs": {}},
        "method_kwargs": {**HEADS[method], **(kwargs or {})},
        "data": {
            "dataset": "custom",
            "num_classes": 10,
            "num_large_crops": 2,
            "num_small_crops": 0,
        },
        "optimizer": {**_OPTIMIZER, "batch_size": 8},
        "scheduler": {"name": "none"},
        "max_epochs": 1,
    }
    return OmegaConf.merge(base, OmegaConf.create(blocks))  # type: ignore[return-value]


def run_config(method: str, kwargs: dict[str, Any] | None = None, **blocks: Any) -> DictConfig:
    """What a command is given, on digits; arguments as for :func:`method_config`.

    The network is narrow, unless ``backbone`` names one.
    """
    named = "name" in blocks.get("backbone", {})
    base = {
        "name": "tiny",
        "method": method,
        "host": "builtin",
        "backbone": {"name": "resnet10t", "kwargs": {} if named else NARROW},
        "method_kwargs": {**HEADS[method], **(kwargs or {})},
        "data": {"dataset": "digits", "num_workers": 0},
        "augmentations": [{"crop_size": 24, "num_crops": 2}],
        "optimizer": {**_OPTIMIZER, "batch_size": 8},
        "scheduler": {"name": "none"},
        "max_epochs": 1,
        "accelerator": "cpu",
        "devices": 1,
    }
    return OmegaConf.merge(base, OmegaConf.create(blocks))  # type: ignore[return-value]


def golden_config(file: Mapping[str, Any], method: str, **changes: Any) -> DictConfig:
    """The configuration stored in ``solo_step.npz``, with ``{"dotted.key": value}`` changed."""
    cfg = OmegaConf.create(json.loads(str(file[f"{method}_config_json"])))
    for key, value in changes.items():
        OmegaConf.update(cfg, key, value, force_add=True, merge=False)
    return cfg

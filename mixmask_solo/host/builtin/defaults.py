# SPDX-License-Identifier: MIT
"""solo-learn's defaults for the keys that a method reads, ours beside them, and checks of both."""

from collections.abc import Iterable
from typing import Any

from omegaconf import DictConfig, OmegaConf

_TRAINING: dict[str, Any] = {
    "optimizer": {"exclude_bias_n_norm_wd": False, "kwargs": {}},
    "accumulate_grad_batches": 1,
    "scheduler": {
        "lr_decay_steps": None,
        "min_lr": 0.0,
        "warmup_start_lr": 3e-5,
        "warmup_epochs": 10,
        "interval": "step",
        "gamma": 0.1,
    },
    "performance": {"disable_channel_last": False},
}

METHOD: dict[str, Any] = _TRAINING | {
    "backbone": {"kwargs": {}, "stem": "auto", "stem_padding": 2},
    "knn_eval": {"enabled": False, "k": 20, "distance_func": "euclidean"},
    "method_kwargs": {},
}

MOMENTUM: dict[str, Any] = {"momentum": {"base_tau": 0.99, "final_tau": 1.0, "classifier": False}}

LINEAR: dict[str, Any] = _TRAINING | {
    "optimizer": _TRAINING["optimizer"] | {"layer_decay": 0.0},
    "finetune": False,
}


def complete(cfg: DictConfig, defaults: dict[str, Any]) -> DictConfig:
    """A copy of ``cfg`` with ``defaults`` where it says nothing, or null for a whole block."""
    result = OmegaConf.create(OmegaConf.to_container(cfg))  # without the struct flag
    assert isinstance(result, DictConfig)
    _fill(result, defaults)
    return result


def _fill(node: DictConfig, defaults: dict[str, Any]) -> None:
    for key, value in defaults.items():
        if isinstance(value, dict):
            if key not in node or node[key] is None:
                node[key] = {}
            _fill(node[key], value)
        elif key not in node:
            node[key] = value


def require(cfg: DictConfig, keys: Iterable[str]) -> None:
    """Raises ValueError naming the first of the dotted ``keys`` without a value."""
    for key in keys:
        if OmegaConf.select(cfg, key) is None:
            raise ValueError(f"{key} is missing: {cfg.get('method', 'this method')} needs it")


def one_of(key: str, value: str, allowed: Iterable[str]) -> None:
    """Raises ValueError where ``key`` has another value than the ``allowed``."""
    if value not in allowed:
        raise ValueError(f"{key} is {value!r}: choose one of {', '.join(allowed)}")

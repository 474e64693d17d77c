# SPDX-License-Identifier: MIT
"""Strategies by the name of their block under ``method_kwargs``; one file per published system."""

from __future__ import annotations

from typing import Any

from omegaconf import DictConfig

from mixmask_solo.config import check
from mixmask_solo.strategies.base import Branch, Strategy
from mixmask_solo.strategies.mixmask import MixMask
from mixmask_solo.strategies.permutations import settle
from mixmask_solo.strategies.step import Step, seeded
from mixmask_solo.strategies.unmix import UnMix

__all__ = ["BLOCKS", "STRATEGIES", "Branch", "Step", "Strategy", "build_strategies", "seeded"]

STRATEGIES: dict[str, type[Strategy]] = {"mixmask": MixMask, "unmix": UnMix}

BLOCKS = (*STRATEGIES, "permutations")
"""All keys of ours under ``method_kwargs`` that every method takes."""


def build_strategies(cfg: DictConfig) -> list[Strategy]:
    """The strategies of ``cfg.method_kwargs``, in the order of the YAML blocks.

    Args:
        cfg: a pretraining configuration; a block that is null is switched off.

    Raises:
        ConfigError: for an unknown key, a wrong type or an impossible value of a block, or for
            blocks that contradict each other.
    """
    kwargs: Any = cfg.get("method_kwargs") or {}
    strategies: list[Strategy] = []
    for name in kwargs:
        if name in STRATEGIES and kwargs[name] is not None:
            kind = STRATEGIES[name]
            options = check(kwargs[name], kind.options_type, f"method_kwargs.{name}")
            strategy = kind(options)
            strategy.check(cfg)
            strategies.append(strategy)
    settle(kwargs.get("permutations"), strategies)
    return strategies

# SPDX-License-Identifier: MIT
"""Strategies by the name of their block under ``method_kwargs``; one file per published system."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import asdict
from typing import Any

from omegaconf import DictConfig

from mixmask_solo.config import check
from mixmask_solo.strategies.base import Branch, Strategy
from mixmask_solo.strategies.mixmask import MixMask
from mixmask_solo.strategies.permutations import Permuted, effective, settle
from mixmask_solo.strategies.step import Step, seeded
from mixmask_solo.strategies.unmix import UnMix

__all__ = [
    "BLOCKS",
    "STRATEGIES",
    "Branch",
    "Step",
    "Strategy",
    "build_strategies",
    "fill_blocks",
    "seeded",
]

STRATEGIES: dict[str, type[Strategy]] = {"unmix": UnMix, "mixmask": MixMask}
"""In the order in which the published MixMask* forwards their images."""

BLOCKS = (*STRATEGIES, "permutations")
"""All keys of ours under ``method_kwargs`` that every method takes."""


def build_strategies(cfg: DictConfig) -> list[Strategy]:
    """The strategies of ``cfg.method_kwargs``, in the order of ``STRATEGIES``.

    BatchNorm's running statistics depend on who is forwarded first, so it is no accident of a file.

    Args:
        cfg: a pretraining configuration; a block that is null is switched off.

    Raises:
        ConfigError: for an unknown key, a wrong type or an impossible value of a block, or for
            blocks that contradict each other.
    """
    kwargs: Any = cfg.get("method_kwargs") or {}
    strategies: list[Strategy] = []
    for name, kind in STRATEGIES.items():
        if kwargs.get(name) is not None:
            options = check(kwargs[name], kind.options_type, f"method_kwargs.{name}")
            strategy = kind(options)
            strategy.check(cfg)
            strategies.append(strategy)
    settle(kwargs.get("permutations"), strategies)
    return strategies


def fill_blocks(kwargs: Mapping[str, Any], strategies: Sequence[Strategy]) -> dict[str, Any]:
    """``method_kwargs`` with every option of its blocks written out, partners as they really are.

    So two runs compare equal exactly when they are, and no later default changes what is stored.

    Args:
        kwargs: as the user wrote them, or filled already.
        strategies: what ``build_strategies`` made of them.
    """
    result = {**kwargs, **{s.name: asdict(s.options) for s in strategies}}
    permuted = {s.name: s.permutation for s in strategies if isinstance(s, Permuted)}
    for name, permutation in permuted.items():
        result[name]["partner"] = permutation.kind
    if len(permuted) > 1:
        result["permutations"] = effective(*permuted.values())
    return result

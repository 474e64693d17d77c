# SPDX-License-Identifier: MIT
"""A whole pretrained method, for features behind its projector; and the same network untrained."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import torch
from omegaconf import OmegaConf
from torch import nn

from mixmask_solo.config import ConfigError
from mixmask_solo.config.nearest import listing
from mixmask_solo.evaluation.backbone import backbone_block, load_weights, new_backbone
from mixmask_solo.evaluation.layouts import plain_names
from mixmask_solo.evaluation.pretrained import Pretrained
from mixmask_solo.evaluation.strict import load_strictly
from mixmask_solo.methods import filter_inputs, get_methods

__all__ = ["has_projector", "load_network"]

_PROJECTORS = {"online": "projector.", "momentum": "momentum_projector."}


def has_projector(pretrained: Pretrained) -> bool:
    """Whether the checkpoint is of a method whose projector can be rebuilt.

    With ``evaluate: momentum``, whether it holds that network's.
    """
    known = bool(pretrained.config) and _name(pretrained) in _methods()
    return known and (pretrained.evaluate == "online" or bool(_projector(pretrained)))


def load_network(
    pretrained: Pretrained, *, projector: bool, trained: bool = True, **given: Any
) -> nn.Module:
    """The network whose features are wanted.

    Args:
        pretrained: the checkpoint.
        projector: build the method with its projector instead of the backbone alone.
        trained: load the weights; otherwise they stay as the run's own seed drew them.
        given: ``backbone`` block and ``dataset``, where the checkpoint does not tell them.

    Returns:
        A method, or a backbone.

    Raises:
        ConfigError: when the checkpoint has no such projector, or holds another network.
    """
    if projector and not has_projector(pretrained):
        raise _no_projector(pretrained)
    block = backbone_block(pretrained, given.get("backbone"))
    with torch.random.fork_rng(devices=[]):
        # The backbone is the first thing a run draws, so either way untrained is its own start.
        torch.manual_seed(int((pretrained.config or {}).get("seed", 5)))
        if projector:
            network: Any = _build(pretrained, block)
        else:
            network = new_backbone(pretrained, block, given.get("dataset"))
    if trained:
        load_weights(network.backbone if projector else network, pretrained, block)
        if projector:
            _load_projector(network, pretrained)
    return network


def _build(pretrained: Pretrained, block: Mapping[str, Any]) -> Any:
    cfg = OmegaConf.create({**(pretrained.config or {}), "backbone": dict(block)})
    try:
        method = _methods()[_name(pretrained)](cfg)
    except (ValueError, TypeError, AttributeError) as error:
        raise ConfigError(
            f"checkpoint '{pretrained.path}' has a configuration that no network can be built "
            f"from: {error}"
        ) from error
    filter_inputs(method.backbone, pretrained.config)
    return method


def _no_projector(pretrained: Pretrained) -> ConfigError:
    of = f"checkpoint '{pretrained.path}' is of method {_name(pretrained)}"
    if _name(pretrained) in _methods():
        return ConfigError(
            f"feature_type is projector and evaluate is momentum: {of} and holds no "
            "momentum_projector; choose backbone"
        )
    known = listing(_methods())
    return ConfigError(
        f"feature_type is projector: {of}, only those of {known} have one here; choose backbone"
    )


def _projector(pretrained: Pretrained) -> dict[str, str]:
    """The file's names of the wanted projector's tensors by the projector's own."""
    prefix = _PROJECTORS[pretrained.evaluate]
    plain = plain_names(pretrained.state)
    return {k.removeprefix(prefix): name for k, name in plain.items() if k.startswith(prefix)}


def _load_projector(method: Any, pretrained: Pretrained) -> None:
    names = _projector(pretrained)
    load_strictly(
        method.projector,
        {own: pretrained.state[name] for own, name in names.items()},
        names,
        path=pretrained.path,
        what=f"checkpoint '{pretrained.path}' does not fit its method's projector",
        hint="its configuration and its weights are not of one run",
    )


def _methods() -> dict[str, type[Any]]:
    return get_methods("builtin")


def _name(pretrained: Pretrained) -> str:
    return str((pretrained.config or {}).get("method"))

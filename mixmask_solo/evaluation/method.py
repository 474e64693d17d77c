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
from mixmask_solo.evaluation.pretrained import Pretrained
from mixmask_solo.evaluation.strict import load_strictly
from mixmask_solo.methods import get_methods

__all__ = ["has_projector", "load_network"]


def has_projector(pretrained: Pretrained) -> bool:
    """Whether the checkpoint is of a method whose projector can be rebuilt."""
    return bool(pretrained.config) and _name(pretrained) in _methods()


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
        known = listing(_methods())
        raise ConfigError(
            f"feature_type is projector: checkpoint '{pretrained.path}' is of method "
            f"{_name(pretrained)}, only those of {known} have one here; choose backbone"
        )
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
        return _methods()[_name(pretrained)](cfg)
    except (ValueError, TypeError, AttributeError) as error:
        raise ConfigError(
            f"checkpoint '{pretrained.path}' has a configuration that no network can be built "
            f"from: {error}"
        ) from error


def _load_projector(method: Any, pretrained: Pretrained) -> None:
    weights = {
        name.removeprefix("projector."): tensor
        for name, tensor in pretrained.state.items()
        if name.startswith("projector.")
    }
    what = f"checkpoint '{pretrained.path}' does not fit its method's projector"
    load_strictly(
        method.projector, weights, what, "its configuration and its weights are not of one run"
    )


def _methods() -> dict[str, type[Any]]:
    return get_methods("builtin")


def _name(pretrained: Pretrained) -> str:
    return str((pretrained.config or {}).get("method"))

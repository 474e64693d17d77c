# SPDX-License-Identifier: MIT
"""The network of a checkpoint, rebuilt: its backbone, or its whole method; trained or not."""

from collections.abc import Mapping
from typing import Any

import torch
from omegaconf import OmegaConf
from torch import nn

from mixmask_solo.config import ConfigError, listing
from mixmask_solo.host.builtin.backbones import build_backbone
from mixmask_solo.methods import filter_inputs, get_methods
from mixmask_solo.records.layout import plain_names
from mixmask_solo.records.pretrained import Pretrained
from mixmask_solo.records.weights import backbone_block, load_strictly, load_weights


def load_network(
    pretrained: Pretrained,
    *,
    projector: bool = False,
    trained: bool = True,
    backbone: Mapping[str, Any] | None = None,
    dataset: str | None = None,
) -> nn.Module:
    """The network whose features are wanted, on the CPU.

    Args:
        projector: build the method with its projector instead of the backbone alone.
        trained: load the weights; otherwise they stay as the run's own seed drew them.
        backbone: see :func:`backbone_block`.
        dataset: decides the stem where nothing else does.

    Returns a method, or a backbone from ``(N, C, H, W)`` to ``(N, features)``; raises ConfigError
    when the checkpoint has no such projector, or holds another network.
    """
    if projector and (reason := why_no_projector(pretrained)):
        raise ConfigError(reason)
    block, config = backbone_block(pretrained, backbone), pretrained.config
    with torch.random.fork_rng(devices=[]):
        # The backbone is the first thing a run draws, so either way untrained is its own start.
        torch.manual_seed(int(config.get("seed", 5)))
        network: Any = (
            _method(pretrained, block) if projector else _backbone(pretrained, block, dataset)
        )
        inner = network.backbone if projector else network
        filter_inputs(inner, config, pretrained.filters)
    if trained:
        load_weights(inner, pretrained, block)
    if trained and projector:
        what = " does not fit its method's projector"
        hint = "its configuration and its weights are not of one run"
        names = _projector(pretrained)
        load_strictly(network.projector, pretrained, names, what=what, hint=hint)
    return network


def new_backbone(block: Mapping[str, Any], dataset: str, seed: int) -> nn.Module:
    """A network as ``seed`` draws it, on the CPU, from ``(N, C, H, W)`` to ``(N, features)``.

    ``dataset`` decides the stem where ``block`` leaves it to that; raises ConfigError where no
    such network can be built.
    """
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(seed)
        return _build(block, dataset)


def _backbone(pretrained: Pretrained, block: Mapping[str, Any], dataset: str | None) -> nn.Module:
    return _build(block, pretrained.data.get("dataset") or dataset or "imagenet")


def _build(block: Mapping[str, Any], dataset: str) -> nn.Module:
    data = {"dataset": dataset}
    try:
        return build_backbone(OmegaConf.create({"backbone": dict(block), "data": data}))
    except (ValueError, TypeError) as error:
        raise ConfigError(f"backbone {block['name']} cannot be built: {error}") from error


def _method(pretrained: Pretrained, block: Mapping[str, Any]) -> Any:
    config = pretrained.config
    # No strategy is needed here, and none draws from the method's numbers: blocks stay unread.
    kwargs = {
        key: value
        for key, value in (config.get("method_kwargs") or {}).items()
        if not isinstance(value, Mapping) and key != "permutations"
    }
    cfg = OmegaConf.create({**config, "method_kwargs": kwargs, "backbone": dict(block)})
    try:
        return get_methods("builtin")[pretrained.method](cfg)
    except (ValueError, TypeError, AttributeError) as error:
        raise ConfigError(
            f"checkpoint '{pretrained.path}' has a configuration that no network can be built "
            f"from: {error}"
        ) from error


def why_no_projector(pretrained: Pretrained) -> str:
    """Why the projector of the network that is meant cannot be rebuilt; empty where it can."""
    methods = get_methods("builtin")
    if not pretrained.config.get("method"):
        return (
            f"feature_type is projector: checkpoint '{pretrained.path}' does not tell how its "
            "projector was made; choose backbone"
        )
    of = f"checkpoint '{pretrained.path}' is of method {pretrained.method}"
    if pretrained.method not in methods:
        return (
            f"feature_type is projector: {of}, only those of {listing(methods)} have one here; "
            "choose backbone"
        )
    if _projector(pretrained):
        return ""
    momentum = pretrained.evaluate == "momentum"
    asked = " and evaluate is momentum" * momentum
    return (
        f"feature_type is projector{asked}: {of} and holds no {'momentum_' * momentum}projector; "
        "choose backbone"
    )


def _projector(pretrained: Pretrained) -> dict[str, str]:
    """The file's names of the wanted projector's tensors by the projector's own."""
    prefix = "projector." if pretrained.evaluate == "online" else "momentum_projector."
    plain = plain_names(pretrained.state)
    return {k.removeprefix(prefix): name for k, name in plain.items() if k.startswith(prefix)}

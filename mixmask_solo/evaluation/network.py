# SPDX-License-Identifier: MIT
"""The network of a checkpoint, rebuilt: its backbone, or its whole method; trained or not.

solo-learn loads with ``strict=False``, which leaves random weights behind without a word, and the
probe of a random network is not even bad enough to be noticed. Here every name is accounted for.
"""

import logging
from collections.abc import Mapping
from typing import Any

import torch
from omegaconf import OmegaConf
from torch import Tensor, nn

from mixmask_solo.config import ConfigError, listing
from mixmask_solo.evaluation.pretrained import Pretrained, plain_names
from mixmask_solo.host.builtin.backbones import build_backbone
from mixmask_solo.methods import filter_inputs, get_methods

log = logging.getLogger(__name__)

_DEFAULTS: dict[str, Any] = {"kwargs": {}, "stem": "auto", "stem_padding": 2}
_HEADS = ("fc.", "head.", "classifier.")  # classification layers of files that are no method's


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


def _backbone(pretrained: Pretrained, block: Mapping[str, Any], dataset: str | None) -> nn.Module:
    data = {"dataset": pretrained.data.get("dataset") or dataset or "imagenet"}
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
    of = f"checkpoint '{pretrained.path}' is of method {pretrained.method}"
    if pretrained.method not in methods:
        return (
            f"feature_type is projector: {of}, only those of {listing(methods)} have one here; "
            "choose backbone"
        )
    if pretrained.evaluate == "online" or _projector(pretrained):
        return ""
    return (
        f"feature_type is projector and evaluate is momentum: {of} and holds no "
        "momentum_projector; choose backbone"
    )


def _projector(pretrained: Pretrained) -> dict[str, str]:
    """The file's names of the wanted projector's tensors by the projector's own."""
    prefix = "projector." if pretrained.evaluate == "online" else "momentum_projector."
    plain = plain_names(pretrained.state)
    return {k.removeprefix(prefix): name for k, name in plain.items() if k.startswith(prefix)}


def backbone_block(pretrained: Pretrained, given: Mapping[str, Any] | None) -> dict[str, Any]:
    """The ``backbone`` block of a checkpoint, completed by what the user says about it.

    The configuration of the pretraining decides, else what the file tells of itself: a wrong
    padding, for one, would go unnoticed, since it leaves no trace in the weights. Raises
    ConfigError when the names contradict each other, or nobody names the network.
    """
    wanted = {key: value for key, value in (given or {}).items() if value is not None}
    stored = pretrained.config.get("backbone")
    if not stored:
        usual = {"stem_padding": pretrained.layout.usual_padding}
        stored = {**usual, **wanted, **pretrained.told}
        if "name" not in stored:
            raise ConfigError(
                f"backbone.name is missing: checkpoint '{pretrained.path}' does not say which "
                "network it holds, and there is no args.json beside it; give the name, "
                "e.g. resnet18"
            )
    block: dict[str, Any] = {**_DEFAULTS, **stored}
    if wanted.get("name", block["name"]) != block["name"]:
        raise ConfigError(
            f"backbone.name is {wanted['name']}, but checkpoint '{pretrained.path}' holds a "
            f"{block['name']}: set backbone.name={block['name']} or give another checkpoint"
        )
    for key, default in _DEFAULTS.items():
        if wanted.get(key, default) not in (default, block[key]) and block[key] != "auto":
            log.warning(
                "backbone.%s is %s, but '%s' was pretrained with %s: taking the latter",
                *(key, wanted[key], pretrained.path, block[key]),
            )
    return block


def load_weights(
    backbone: nn.Module, pretrained: Pretrained, block: Mapping[str, Any], who: str = ""
) -> None:
    """Loads the checkpoint's backbone into the network of ``block``, which ``who`` named, in place.

    Raises ConfigError as :func:`load_strictly`.
    """
    expected, layout = backbone.state_dict(), pretrained.layout
    own = plain_names(expected)  # a network may have parts that are called as wrappers are
    names = {own.get(plain, plain): name for plain, name in layout.names.items()}
    names = {k: name for k, name in names.items() if k in expected or not k.startswith(_HEADS)}
    told, stored = "name" in pretrained.told, bool(pretrained.config.get("backbone"))
    source = "the network its 'arch' names" if told else "the network given"
    who = who or ("the network of its stored configuration" if stored else source)
    hint = "set backbone.name (and kwargs) to the network it was trained with"
    shapes = {k: pretrained.state[names[k]].shape for k in expected if k in names}
    if not shapes:
        hint = "docs/methods.md lists the layouts that are understood"
    elif [k for k, shape in shapes.items() if shape != expected[k].shape] == ["conv1.weight"]:
        hint = f"set backbone.stem={'cifar' if shapes['conv1.weight'][-1] == 3 else 'imagenet'}"
    elif told or stored:
        hint = "name and weights are not of one network, use another file"
    what = f"read as {layout}, does not fit {block['name']}, {who}"
    load_strictly(backbone, pretrained, names, what=f", {what}", hint=hint)


def load_strictly(
    module: nn.Module, pretrained: Pretrained, names: Mapping[str, str], *, what: str, hint: str
) -> None:
    """Loads tensors of a checkpoint, the file's ``names`` by the module's own, in place.

    Raises ConfigError naming the first tensor of another shape, the first that is missing and the
    first left over, between ``what`` and ``hint``; or the first that is not finite.
    """
    weights = {own: pretrained.state[name] for own, name in names.items()}
    expected = module.state_dict()
    common = [k for k in expected if k in weights]
    there = f"{len(common)} of {len(expected)} names are"
    differ = [
        f"{k} is {_shape(weights[k])} in the file, {_shape(expected[k])} in the network"
        for k in common
        if weights[k].shape != expected[k].shape
    ]
    missing = [f"{k} is not in the file ({there})" for k in expected if k not in weights]
    extra = [
        f"the file also has {name}, which the network lacks"
        for own, name in names.items()
        if own not in expected
    ]
    problems = ", ".join(differ[:1] + missing[:1] + extra[:1])
    if problems:
        raise ConfigError(f"checkpoint '{pretrained.path}'{what}: {problems}; {hint}")
    for own, tensor in weights.items():
        if not torch.isfinite(tensor).all():
            raise ConfigError(
                f"checkpoint '{pretrained.path}' holds NaN or infinity in {names[own]}: the run "
                "diverged, use an earlier checkpoint"
            )
    module.load_state_dict(weights)


def actual_stem(backbone: nn.Module) -> str:
    """What ``backbone.stem: auto`` has become: ``imagenet``, ``cifar`` or ``cifar_pool``."""
    conv, pool = getattr(backbone, "conv1", None), getattr(backbone, "maxpool", None)
    if not isinstance(conv, nn.Conv2d) or conv.kernel_size != (3, 3) or pool is None:
        return "imagenet"
    return "cifar" if isinstance(pool, nn.Identity) else "cifar_pool"


def _shape(tensor: Tensor) -> str:
    return "x".join(map(str, tensor.shape)) or "a scalar"

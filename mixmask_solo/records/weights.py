# SPDX-License-Identifier: MIT
"""Weights of a checkpoint into a network that was built for them: all of them, or an error line.

solo-learn loads with ``strict=False``, which leaves random weights behind without a word, and the
probe of a random network is not even bad enough to be noticed. Here every name is accounted for.
"""

import logging
from collections.abc import Mapping
from typing import Any

import torch
from torch import Tensor, nn

from mixmask_solo.config import ConfigError
from mixmask_solo.records.layout import plain_names
from mixmask_solo.records.pretrained import Pretrained

log = logging.getLogger(__name__)

_DEFAULTS: dict[str, Any] = {"kwargs": {}, "stem": "auto", "stem_padding": 2}
_HEADS = ("fc.", "head.", "classifier.")  # classification layers of files that are no method's


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


def _shape(tensor: Tensor) -> str:
    return "x".join(map(str, tensor.shape)) or "a scalar"

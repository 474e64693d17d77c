# SPDX-License-Identifier: MIT
"""A backbone as it was pretrained, or not at all."""

from __future__ import annotations

import logging
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from omegaconf import OmegaConf
from torch import nn

from mixmask_solo.config import ConfigError
from mixmask_solo.evaluation.layouts import plain_names
from mixmask_solo.evaluation.pretrained import Pretrained, read_pretrained
from mixmask_solo.evaluation.strict import load_strictly
from mixmask_solo.host.builtin.backbones import build_backbone
from mixmask_solo.methods import filter_inputs

__all__ = ["actual_stem", "backbone_block", "load_pretrained", "load_weights", "new_backbone"]

log = logging.getLogger(__name__)

_DEFAULTS: dict[str, Any] = {"kwargs": {}, "stem": "auto", "stem_padding": 2}
_HEADS = ("fc.", "head.", "classifier.")  # classification layers of files that are no method's


def load_pretrained(
    path: str | Path,
    backbone: Mapping[str, Any] | None = None,
    dataset: str | None = None,
    evaluate: str = "online",
) -> nn.Module:
    """Reads a checkpoint and builds the backbone in it.

    Args:
        path: file, or folder of a run (its ``last.ckpt``, else the newest).
        backbone: ``name``, ``kwargs``, ``stem``, ``stem_padding``; what is left out, or None, comes
            from the configuration stored with the checkpoint, which otherwise only has to agree.
        dataset: decides the stem where nothing else does.
        evaluate: the network, ``online`` or ``momentum``.

    Returns:
        Module from ``(N, C, H, W)`` to ``(N, features)``, on the CPU.

    Raises:
        ConfigError: when the file cannot be read, or holds another network than asked for.
    """
    pretrained = read_pretrained(path, evaluate)
    block = backbone_block(pretrained, backbone)
    network = new_backbone(pretrained, block, dataset)
    load_weights(network, pretrained, block)
    return network


def backbone_block(pretrained: Pretrained, given: Mapping[str, Any] | None) -> dict[str, Any]:
    """The ``backbone`` block of a checkpoint, completed by what the user says about it.

    Where the configuration of the pretraining is known it decides, else what the file tells of
    itself: a padding, for one, leaves no trace in the weights, so that a wrong one would go
    unnoticed.

    Raises:
        ConfigError: when the names contradict each other, or nobody names the network.
    """
    stored = (pretrained.config or {}).get("backbone")
    wanted = {key: value for key, value in (given or {}).items() if value is not None}
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


def new_backbone(
    pretrained: Pretrained, block: Mapping[str, Any], dataset: str | None = None
) -> nn.Module:
    """Builds the network of ``block`` with random weights; inputs are filtered as in its run.

    Args:
        pretrained: the checkpoint.
        block: complete ``backbone`` block.
        dataset: decides an ``auto`` stem; the data set of the pretraining goes before.

    Raises:
        ConfigError: when there is no such network.
    """
    trained_on = ((pretrained.config or {}).get("data") or {}).get("dataset")
    cfg = OmegaConf.create(
        {"backbone": dict(block), "data": {"dataset": trained_on or dataset or "imagenet"}}
    )
    try:
        return filter_inputs(build_backbone(cfg), pretrained.config)
    except (ValueError, TypeError) as error:
        raise ConfigError(f"backbone {block['name']} cannot be built: {error}") from error


def load_weights(
    backbone: nn.Module, pretrained: Pretrained, block: Mapping[str, Any], who: str = ""
) -> None:
    """Loads the checkpoint's backbone into ``backbone``, strictly.

    Args:
        backbone: the network, changed in place.
        pretrained: the checkpoint.
        block: the network's ``backbone`` block.
        who: named it; for the error line.

    Raises:
        ConfigError: naming the first tensors that do not fit, or hold no numbers.
    """
    expected, layout = backbone.state_dict(), pretrained.layout
    own = plain_names(expected)  # a network may have parts that are called as wrappers are
    weights, names = {}, {}
    for plain, tensor in layout.weights.items():
        name = own.get(plain, plain)
        if name in expected or not name.startswith(_HEADS):
            weights[name], names[name] = tensor, layout.names[plain]
    load_strictly(
        backbone,
        weights,
        names,
        path=pretrained.path,
        what=f"checkpoint '{pretrained.path}', read as {layout}, does not fit {block['name']}, "
        f"{who or _who_named_it(pretrained)}",
        hint=_hint(weights, expected, pretrained),
    )


def actual_stem(backbone: nn.Module) -> str:
    """What ``backbone.stem: auto`` has become: ``imagenet``, ``cifar`` or ``cifar_pool``."""
    conv, pool = getattr(backbone, "conv1", None), getattr(backbone, "maxpool", None)
    if not isinstance(conv, nn.Conv2d) or conv.kernel_size != (3, 3) or pool is None:
        return "imagenet"
    return "cifar" if isinstance(pool, nn.Identity) else "cifar_pool"


def _who_named_it(pretrained: Pretrained) -> str:
    if (pretrained.config or {}).get("backbone"):
        return "the network of its stored configuration"
    return "the network its 'arch' names" if "name" in pretrained.told else "the network given"


def _hint(weights: Mapping[str, Any], expected: Mapping[str, Any], pretrained: Pretrained) -> str:
    if not any(name in expected for name in weights):
        return "docs/methods.md lists the layouts that are understood"
    differ = [k for k in expected if k in weights and weights[k].shape != expected[k].shape]
    if differ == ["conv1.weight"]:
        small = weights["conv1.weight"].shape[-1] == 3
        return f"set backbone.stem={'cifar' if small else 'imagenet'}"
    if (pretrained.config or {}).get("backbone") or "name" in pretrained.told:
        return "name and weights are not of one network, use another file"
    return "set backbone.name (and kwargs) to the network it was trained with"

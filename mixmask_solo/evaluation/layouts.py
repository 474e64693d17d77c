# SPDX-License-Identifier: MIT
"""Whose checkpoint it is, by the names of its tensors, and what these tell about the network.

Known are solo-learn's and ours (``backbone.``), solo-learn's of 2021 (``encoder.``), a backbone
alone (torchvision's files), and the published MoCo, Un-Mix and MixMask code's ``encoder_q.``: of
the ImageNet code a torchvision ResNet, its classifier replaced by the head (``fc``); of the CIFAR
demos a ``Sequential`` called ``net`` of that ResNet's children in their order, without the max
pooling and with a flattening before the head, the first convolution 3x3 with padding 1. Any of them
may be wrapped in ``DistributedDataParallel`` (``module.``).
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from torch import Tensor

__all__ = ["backbone_weights", "told_backbone"]

_QUERY = "encoder_q."
_PREFIXES = ("backbone.", "encoder.", _QUERY, "")
_WRAPPER = "module."
# Positions in a demo's net, a name that no other layout has; 2, 7 and 8 (ReLU, pooling,
# flattening) hold no tensors.
_DEMO = {
    "net.0.": "conv1.",
    "net.1.": "bn1.",
    "net.3.": "layer1.",
    "net.4.": "layer2.",
    "net.5.": "layer3.",
    "net.6.": "layer4.",
    "net.9.": "fc.",
}


def backbone_weights(state: Mapping[str, Tensor]) -> dict[str, Tensor]:
    """The backbone's tensors under the backbone's own names.

    Only names that *start* with a prefix count: ``momentum_backbone.`` is another network, and so
    is ``encoder_k.``. Names that no rule knows stay, for the strict loading to stumble over.
    """
    state = _unwrapped(state)
    for prefix in _PREFIXES:
        found = {k.removeprefix(prefix): t for k, t in state.items() if k.startswith(prefix)}
        if found:
            return {_torchvision_name(k): t for k, t in found.items()}
    return {}


def told_backbone(content: Mapping[str, Any], state: Mapping[str, Tensor]) -> dict[str, Any]:
    """What a file without configuration tells about its network.

    Args:
        content: the whole file; the published code stores the network's name as ``arch``.
        state: its tensors.

    Returns:
        Keys of a ``backbone`` block: ``name``, ``stem``, ``stem_padding``, as far as told.
    """
    told: dict[str, Any] = {}
    if isinstance(content.get("arch"), str):
        told["name"] = content["arch"]
    state = _unwrapped(state)
    if f"{_QUERY}net.0.weight" in state:
        return {**told, "stem": "cifar", "stem_padding": 1}
    first = state.get(f"{_QUERY}conv1.weight")
    if first is not None and first.shape[-1] == 7:
        told["stem"] = "imagenet"
    return told


def _unwrapped(state: Mapping[str, Tensor]) -> dict[str, Tensor]:
    if all(name.startswith(_WRAPPER) for name in state):
        return {name.removeprefix(_WRAPPER): t for name, t in state.items()}
    return dict(state)


def _torchvision_name(name: str) -> str:
    for position, own in _DEMO.items():
        if name.startswith(position):
            return own + name.removeprefix(position)
    return name

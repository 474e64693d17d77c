# SPDX-License-Identifier: MIT
"""Whose checkpoint it is, by the names of its tensors, and what these tell about the network.

Known are pairs of an online and a momentum network (see ``_PAIRS``), and a network alone; in front
of or inside any name the parts that ``DistributedDataParallel`` and ``torch.compile`` put there. A
backbone is a torchvision or timm network by its own names, or a ResNet's children in a row, which
numbers them: ``rows.py``.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import Any, NamedTuple

from torch import Tensor

from mixmask_solo.evaluation.rows import Row, row_of

__all__ = ["Layout", "backbone_layout", "plain_names", "told_backbone"]

# Online and momentum network. lightly's older benchmarks call the momentum network `backbone`.
_PAIRS = (
    ("student_backbone.", "teacher_backbone."),  # lightly's DINO
    ("student_backbone.", "backbone."),
    ("query_backbone.", "backbone."),
    ("backbone.", "momentum_backbone."),  # ours, solo-learn
    ("backbone.", "backbone_momentum."),  # lightly
    ("backbone.", "teacher_backbone."),
    ("backbone.", "key_backbone."),
    ("encoder_q.", "encoder_k."),  # MoCo, Un-Mix, MixMask
    ("base_encoder.", "momentum_encoder."),  # MoCo v3
    ("encoder.", "momentum_encoder."),  # solo-learn of 2021
    ("student.backbone.", "teacher.backbone."),  # DINO
    ("student.", "teacher."),
)
_EITHER = "backbone."  # alone it is an online network
_SOLO = ("backbone.", "momentum_backbone.", "encoder.", "")
_WRAPPERS = ("module", "_orig_mod")


class Layout(NamedTuple):
    """A backbone in a file.

    Attributes:
        weights: by the network's names.
        names: the file's names by the network's.
        prefix: what its names start with, wrappers apart; ``""`` where the file is the network.
        row: how its children are numbered, None where they have names.
    """

    weights: dict[str, Tensor]
    names: dict[str, str]
    prefix: str
    row: Row | None

    @property
    def usual_padding(self) -> int:
        """Of a 3x3 stem, which leaves no trace in weights: solo-learn's 2, everybody else's 1."""
        return 2 if self.prefix in _SOLO and not self.row else 1

    def __str__(self) -> str:
        """For error lines."""
        what = f"the names under '{self.prefix}'" if self.prefix else "names without a prefix"
        return f"{what}, a row of a ResNet's children" if self.row else what


def backbone_layout(state: Mapping[str, Tensor], evaluate: str = "online") -> Layout | None:
    """The backbone's tensors under the backbone's own names.

    Only names that *start* with a prefix count: ``momentum_backbone.`` is another network than
    ``backbone.``. Names that no rule knows stay, for the strict loading to stumble over.

    Args:
        state: the file's tensors.
        evaluate: which network, ``online`` or ``momentum``.

    Returns:
        None where the file holds the other network only.
    """
    plain = plain_names(state)
    prefix = _prefix(plain, evaluate)
    if prefix is None:
        return None
    inner = {k.removeprefix(prefix): name for k, name in plain.items() if k.startswith(prefix)}
    row = row_of(inner)
    names = {row.name(k) if row else k: name for k, name in inner.items()}
    return Layout({k: state[name] for k, name in names.items()}, names, prefix, row)


def plain_names(names: Iterable[str]) -> dict[str, str]:
    """Names without the parts that wrappers put into them, and the names they come from."""
    plain: dict[str, str] = {}
    for name in names:
        short = ".".join(part for part in name.split(".") if part not in _WRAPPERS)
        plain[name if short in plain else short] = name
    return plain


def told_backbone(content: Mapping[str, Any], layout: Layout) -> dict[str, Any]:
    """What a file without configuration tells about its network.

    Args:
        content: the whole file; published code stores the network's name as ``arch``.
        layout: of the backbone.

    Returns:
        Keys of a ``backbone`` block: ``name``, ``stem``, ``stem_padding``, as far as told.
    """
    told: dict[str, Any] = {}
    if isinstance(content.get("arch"), str):
        told["name"] = content["arch"]
    first = layout.weights.get("conv1.weight")
    if layout.row and not layout.row.pooled:
        return {**told, "stem": "cifar", "stem_padding": 1}
    if first is not None and first.dim() == 4 and first.shape[-1] == 7:
        told["stem"] = "imagenet"
    return told


def _prefix(names: Iterable[str], evaluate: str) -> str | None:
    """What the wanted network's names start with; None where only the other one is there."""
    there = {p for pair in _PAIRS for p in pair if any(name.startswith(p) for name in names)}
    side = 0 if evaluate == "online" else 1
    for pair in _PAIRS:
        if there.issuperset(pair):
            return pair[side]
    for pair in _PAIRS:
        if pair[side] in there and (side == 0 or pair[side] != _EITHER):
            return pair[side]
    return "" if side == 0 and not there else None

# SPDX-License-Identifier: MIT
"""Where a backbone's tensors are in a file.

Whose it is tell the names of its tensors, wrappers' parts apart: pairs of an online and a momentum
network (see ``_PAIRS``) are known, and a network alone. A backbone is a torchvision or timm network
by its own names, or a ResNet whose children stand in an ``nn.Sequential``, a row by numbers.
"""

from collections.abc import Iterable
from typing import NamedTuple

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
_WRAPPERS = ("module", "_orig_mod")  # of DistributedDataParallel, torch.compile
_NET = "net."  # the published CIFAR demos call the row so


class Layout(NamedTuple):
    """A backbone in a file: its names of the tensors by the network's own.

    Attributes:
        prefix: what the file's start with, wrappers apart; ``""`` where the file is the network.
        layer1: position of the first layer in a row, None where children have names: 4 behind
            convolution, norm, ReLU and max pooling, 3 without the pooling, 2 without the ReLU too,
            as in lightly's own network for CIFAR, whose down-sampling is called ``shortcut``.
    """

    names: dict[str, str]
    prefix: str
    layer1: int | None

    @property
    def usual_padding(self) -> int:
        """Of a 3x3 stem, which leaves no trace in weights: solo-learn's 2, everybody else's 1."""
        return 2 if self.prefix in _SOLO and not self.layer1 else 1

    def __str__(self) -> str:
        """For error lines."""
        what = f"the names under '{self.prefix}'" if self.prefix else "names without a prefix"
        return f"{what}, a row of a ResNet's children" if self.layer1 else what


def backbone_layout(names: Iterable[str], evaluate: str = "online") -> Layout | None:
    """Where the backbone's tensors are; None where the file holds the other network only.

    Only names that *start* with a prefix count: ``momentum_backbone.`` is another network than
    ``backbone.``. Names that no rule knows stay, for the strict loading to stumble over.
    """
    plain = plain_names(names)
    prefix = _prefix(plain, evaluate)
    if prefix is None:
        return None
    inner = {k.removeprefix(prefix): name for k, name in plain.items() if k.startswith(prefix)}
    layer1 = _layer1(inner)
    own = {_name_in_row(k, layer1) if layer1 else k: name for k, name in inner.items()}
    return Layout(own, prefix, layer1)


def plain_names(names: Iterable[str]) -> dict[str, str]:
    """Names without the parts that wrappers put into them, and the names they come from."""
    plain: dict[str, str] = {}
    for name in names:
        short = ".".join(part for part in name.split(".") if part not in _WRAPPERS)
        plain[name if short in plain else short] = name
    return plain


def _prefix(names: Iterable[str], evaluate: str) -> str | None:
    there = {p for pair in _PAIRS for p in pair if any(name.startswith(p) for name in names)}
    side = 0 if evaluate == "online" else 1
    for pair in _PAIRS:
        if there.issuperset(pair):
            return pair[side]
    for pair in _PAIRS:
        if pair[side] in there and (side == 0 or pair[side] != _EITHER):
            return pair[side]
    return "" if side == 0 and not there else None


def _layer1(names: Iterable[str]) -> int | None:
    """Position of a row's first layer; None for names that are no numbers."""
    inner = [name.removeprefix(_NET) for name in names]
    if not all(name.partition(".")[0].isdecimal() for name in inner):
        return None
    first = min((int(name.partition(".")[0]) for name in inner if ".conv1." in name), default=0)
    return first if first in (2, 3, 4) else None


def _name_in_row(numbered: str, layer1: int) -> str:
    """torchvision's name; the numbered one again where there is none."""
    position, _, rest = numbered.removeprefix(_NET).partition(".")
    # Behind layer4 come pooling, flattening and the head.
    parts = {0: "conv1", 1: "bn1", layer1 + 6: "fc"}
    parts |= {layer1 + i: f"layer{i + 1}" for i in range(4)}
    if int(position) not in parts:
        return numbered
    if layer1 == 2:
        rest = rest.replace("shortcut.", "downsample.")
    return f"{parts[int(position)]}.{rest}"

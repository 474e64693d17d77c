# SPDX-License-Identifier: MIT
"""A ResNet whose children stand in an ``nn.Sequential``: numbers in the place of names."""

from __future__ import annotations

from collections.abc import Iterable
from typing import NamedTuple

__all__ = ["Row", "row_of"]

_NET = "net."  # the published CIFAR demos call the row so


class Row(NamedTuple):
    """Positions in a row.

    Attributes:
        layer1: of the first layer: 4 behind convolution, norm, ReLU and max pooling, 3 without the
            pooling, 2 without the ReLU too, as in lightly's own network for CIFAR, whose
            down-sampling is called ``shortcut``.
    """

    layer1: int

    @property
    def pooled(self) -> bool:
        """Whether there is a place for max pooling, be it left empty."""
        return self.layer1 > 3

    def name(self, numbered: str) -> str:
        """torchvision's name; the numbered one again where there is none."""
        position, _, rest = numbered.removeprefix(_NET).partition(".")
        # Behind layer4 come pooling, flattening and the head.
        parts = {0: "conv1", 1: "bn1", self.layer1 + 6: "fc"}
        parts |= {self.layer1 + i: f"layer{i + 1}" for i in range(4)}
        if int(position) not in parts:
            return numbered
        if self.layer1 == 2:
            rest = rest.replace("shortcut.", "downsample.")
        return f"{parts[int(position)]}.{rest}"


def row_of(names: Iterable[str]) -> Row | None:
    """The row whose tensors have these names; None for names that are no numbers."""
    inner = [name.removeprefix(_NET) for name in names]
    if not all(name.partition(".")[0].isdecimal() for name in inner):
        return None
    layers = [int(name.partition(".")[0]) for name in inner if ".conv1." in name]
    return Row(min(layers)) if layers and min(layers) in (2, 3, 4) else None

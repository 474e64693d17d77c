# SPDX-License-Identifier: MIT
"""Images that lie in memory as one array."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray
from PIL import Image

from mixmask_solo.data.sources.base import Source

__all__ = ["ArraySource"]


class ArraySource(Source):
    """A small data set as one array.

    Args:
        images: (N, H, W, 3) uint8.
        labels: (N,) integers.
        classes: names in the order of the labels.
        title: what messages call the array.
    """

    def __init__(
        self, images: NDArray[np.uint8], labels: Any, classes: Sequence[str], title: str
    ) -> None:
        super().__init__(labels, classes)
        self.images = images
        self.title = title

    def load(self, index: int) -> Image.Image:
        return Image.fromarray(self.images[index])

    def name(self, index: int) -> str:
        return f"{self.title} image {index}"

# SPDX-License-Identifier: MIT
"""What a loader's worker does with one image.

Augmented samples are asked for by ``(epoch, index)``: the epoch travels with the index, so that a
worker that outlives an epoch knows which one it serves, and a sample is the same whoever makes it.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence

from PIL import Image
from torch import Tensor
from torch.utils.data import Dataset

from mixmask_solo.data.augmentations import Pipeline
from mixmask_solo.data.augmentations.randomness import keep_global_rng, reseed
from mixmask_solo.data.sources import Source
from mixmask_solo.data.tolerance import STRICT, Tolerance

__all__ = ["Augmented", "Plain", "Views"]

Key = tuple[int, int]
Transform = Callable[[Image.Image], Tensor]


class Views(Dataset[tuple[int, list[Tensor], int]]):
    """All views of an image from one decoding: ``(index, [view_1, ...], label)``.

    Args:
        source: the images.
        pipelines: in the order of the views.
        seed: together with (epoch, index, number of the view) it decides each view.
        tolerance: decides what is done about a damaged image.
    """

    def __init__(
        self,
        source: Source,
        pipelines: Sequence[Pipeline],
        seed: int,
        tolerance: Tolerance = STRICT,
    ) -> None:
        self.source = source
        self.transforms = [p for p in pipelines for _ in range(p.num_crops)]
        self.seed = seed
        self.tolerance = tolerance

    def __len__(self) -> int:
        return len(self.source)

    def __getitem__(self, key: Key) -> tuple[int, list[Tensor], int]:
        epoch, asked = key
        index, image = self.tolerance.pick(self.source, asked, seed=self.seed, epoch=epoch)
        views = []
        with keep_global_rng():
            for number, transform in enumerate(self.transforms):
                reseed(self.seed, epoch, index, number)
                views.append(transform(image))
        return index, views, self.source.label(index)


class Augmented(Dataset[tuple[Tensor, int]]):
    """One random view and the label: ``(x, label)``.

    Args:
        source: the images.
        transform: a PIL image to a tensor.
        seed: together with (epoch, index) it decides the view.
        tolerance: decides what is done about a damaged image.
    """

    def __init__(
        self, source: Source, transform: Transform, seed: int, tolerance: Tolerance = STRICT
    ) -> None:
        self.source = source
        self.transform = transform
        self.seed = seed
        self.tolerance = tolerance

    def __len__(self) -> int:
        return len(self.source)

    def __getitem__(self, key: Key) -> tuple[Tensor, int]:
        epoch, asked = key
        index, image = self.tolerance.pick(self.source, asked, seed=self.seed, epoch=epoch)
        with keep_global_rng():
            reseed(self.seed, epoch, index, 0)
            x = self.transform(image)
        return x, self.source.label(index)


class Plain(Dataset[tuple[Tensor, int] | None]):
    """The un-augmented image and the label: ``(x, label)``; None for one that is left out.

    Args:
        source: the images.
        transform: a PIL image to a tensor, without randomness.
        tolerance: decides what is done about a damaged image.
    """

    def __init__(self, source: Source, transform: Transform, tolerance: Tolerance = STRICT) -> None:
        self.source = source
        self.transform = transform
        self.tolerance = tolerance

    def __len__(self) -> int:
        return len(self.source)

    def __getitem__(self, index: int) -> tuple[Tensor, int] | None:
        image = self.tolerance.read(self.source, index)
        return None if image is None else (self.transform(image), self.source.label(index))

# SPDX-License-Identifier: MIT
"""Batches out of memory: which draws and which images, and what becomes of them."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray
from torch import Tensor
from torch.utils.data import Dataset

from mixmask_solo.data.augmentations import Pipeline
from mixmask_solo.data.augmentations.draws import DRAWS, Draws
from mixmask_solo.data.augmentations.randomness import keys
from mixmask_solo.data.batched import Maker
from mixmask_solo.data.batched.exact import Unaugmented
from mixmask_solo.data.batched.plan import to_device
from mixmask_solo.data.decoders.resident.stack import Stack
from mixmask_solo.data.tolerance import substitutes

__all__ = ["Batches", "InOrder", "Recipe", "recipes"]


@dataclass(frozen=True)
class Recipe:
    """All views of one pipeline, made together.

    Args:
        maker: makes them.
        name: of the pipeline's draws.
        options: the pipeline's keys.
        numbers: of the views among all of an image.
    """

    maker: Maker
    name: str
    options: Any
    numbers: range

    def views(
        self, stack: Stack, seed: int, epoch: int, indexes: NDArray[np.int64]
    ) -> Sequence[Tensor]:
        """Each view of a batch, (N, 3, size, size)."""
        sizes = np.tile(np.array([stack.size]), (len(indexes), 1))
        drawn = [
            DRAWS[self.name](self.options, sizes, keys(seed, epoch, indexes, number))
            for number in self.numbers
        ]
        everyone = np.tile(indexes, len(drawn))
        made = self.maker(stack.take, everyone, Draws.join(drawn), stack.device)
        return made.split(len(indexes))


class Batches(Dataset[Any]):
    """Makes training batches, from lists of ``(epoch, index)``."""

    def __init__(
        self, stack: Stack, recipes: Sequence[Recipe], seed: int, *, labelled: bool
    ) -> None:
        self.stack = stack
        self.recipes = recipes
        self.seed = seed
        self.labelled = labelled
        self.views = sum(len(recipe.numbers) for recipe in recipes)

    def __len__(self) -> int:
        return len(self.stack)

    def __getitems__(self, pairs: list[tuple[int, int]]) -> list[Any]:
        epoch = pairs[0][0]  # a loader asks for images of one epoch at a time
        indexes = np.array([self._present(index, epoch) for _, index in pairs], dtype=np.int64)
        views = [
            view
            for recipe in self.recipes
            for view in recipe.views(self.stack, self.seed, epoch, indexes)
        ]
        targets = to_device(self.stack.labels[indexes], self.stack.device)
        if self.labelled:
            return [views[0], targets]
        return [to_device(indexes, self.stack.device), views, targets]

    def _present(self, index: int, epoch: int) -> int:
        """The image, or the one that takes its place."""
        if self.stack.present[index]:
            return index
        others = substitutes(len(self), index, seed=self.seed, epoch=epoch)
        return next(other for other in others if self.stack.present[other])


class InOrder(Dataset[Any]):
    """Makes un-augmented batches ``[x, targets]``; None where all images of one are damaged."""

    def __init__(self, stack: Stack, view: Unaugmented) -> None:
        self.stack = stack
        self.view = view

    def __len__(self) -> int:
        return len(self.stack)

    def __getitems__(self, indexes: list[int]) -> list[Tensor] | None:
        chosen = np.array(indexes, dtype=np.int64)
        chosen = chosen[self.stack.present[chosen]]
        if len(chosen) == 0:
            return None
        targets = to_device(self.stack.labels[chosen], self.stack.device)
        return [self.view(self.stack.take(chosen)), targets]


def recipes(pipelines: Sequence[Pipeline], *, channels_last: bool) -> list[Recipe]:
    """One recipe a pipeline, numbered as the PIL decoder numbers its views."""
    made: list[Recipe] = []
    first = 0
    for pipeline in pipelines:
        options: Any = pipeline.options
        maker = Maker(
            pipeline.crop_size,
            pipeline.mean,
            pipeline.std,
            crop=options.rrc.enabled,
            kernel=options.rrc.interpolation,
            colour_first=pipeline.colour_first,
            channels_last=channels_last,
        )
        numbers = range(first, first + pipeline.num_crops)
        made.append(Recipe(maker, pipeline.name, options, numbers))
        first = numbers.stop
    return made

# SPDX-License-Identifier: MIT
"""A part of a source, and the share of it that ``data.fraction`` asks for."""

from __future__ import annotations

from typing import Any

import numpy as np
import torch
from PIL import Image
from torch import Tensor

from mixmask_solo.config import ConfigError
from mixmask_solo.data.sources.base import Encoded, Source
from mixmask_solo.data.sources.blocks import Blocks

__all__ = ["Subset", "take_fraction"]


class Subset(Source):
    """Images of another source at ``indexes``, (n,) distinct integers; the classes stay."""

    def __init__(self, source: Source, indexes: Any) -> None:
        self.source = source
        self.indexes = np.asarray(indexes, dtype=np.int64)
        super().__init__(source.labels[self.indexes], source.classes)
        self.columns = source.columns

    def load(self, index: int) -> Image.Image:
        return self.source.load(int(self.indexes[index]))

    def encoded(self, index: int) -> Encoded | None:
        return self.source.encoded(int(self.indexes[index]))

    def name(self, index: int) -> str:
        return self.source.name(int(self.indexes[index]))

    def shuffled(self, generator: torch.Generator) -> Tensor:
        place = torch.full((len(self.source),), -1, dtype=torch.int64)
        place[torch.from_numpy(self.indexes)] = torch.arange(len(self))
        order = place[self.source.shuffled(generator)]
        return order[order >= 0]

    def blocks(self) -> Blocks | None:
        whole = self.source.blocks()
        return None if whole is None else whole._replace(of=whole.of[self.indexes])

    def warm(self) -> None:
        self.source.warm()


def take_fraction(source: Source, fraction: float) -> Source:
    """The share of a source that solo-learn takes for the same number; -1 and 1 take everything.

    It is scikit-learn's, stratified by label where there are labels, with random state 42.
    """
    if fraction in (-1, 1):
        return source
    if not 0 < fraction < 1:
        raise ConfigError(
            f"data.fraction is {fraction}: give a share above 0, at most 1, or -1 for all images"
        )
    from sklearn.model_selection import train_test_split

    labelled = np.flatnonzero(source.labels >= 0) if source.classes else np.arange(0)
    others = np.setdiff1d(np.arange(len(source)), labelled)
    groups: list[tuple[Any, Any]] = [(labelled, source.labels[labelled])] if len(labelled) else []
    if not groups or fraction * len(others) >= 1:
        groups.append((others, None))
    try:
        chosen = [
            train_test_split(group, train_size=fraction, stratify=labels, random_state=42)[0]
            for group, labels in groups
        ]
    except ValueError as error:
        raise ConfigError(f"data.fraction is {fraction}: {error}") from None
    return Subset(source, np.concatenate(chosen))

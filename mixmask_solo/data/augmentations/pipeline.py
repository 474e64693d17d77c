# SPDX-License-Identifier: MIT
"""From a list of ``augmentations`` to the views of an image."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from PIL import Image
from torch import Tensor
from torchvision import transforms

from mixmask_solo.config import ConfigError, check
from mixmask_solo.config.datasets import DatasetInfo
from mixmask_solo.config.schema.augmentations import ViewOptions
from mixmask_solo.data.augmentations.registry import lookup

__all__ = ["Pipeline", "assemble", "build", "build_all"]


@dataclass(frozen=True)
class Pipeline:
    """One entry of ``augmentations``, ready for use."""

    transform: transforms.Compose  # a PIL image in RGB to a (3, crop_size, crop_size) float32
    num_crops: int  # views of each image
    crop_size: int
    mean: tuple[float, ...]  # per channel, as subtracted
    std: tuple[float, ...]  # per channel, as divided by
    name: str  # as registered, for decoders that make batches of their own
    options: ViewOptions  # the checked keys, of the type that belongs to the name
    key: str  # full key of the entry, for messages

    @property
    def colour_first(self) -> bool:
        """Whether jitter and grey come before the crop."""
        return getattr(self.options, "order", "crop_first") == "colour_first"

    def __call__(self, image: Image.Image) -> Tensor:
        """One random view."""
        view: Tensor = self.transform(image)
        return view


def build(name: str, node: Any, dataset: DatasetInfo, prefix: str = "augmentations") -> Pipeline:
    """The pipeline registered as ``name``, with the keys of the entry ``node`` called ``prefix``.

    Raises:
        ConfigError: for an unknown name, key or value.
    """
    schema, _ = lookup(name, prefix)
    return assemble(name, check(node, schema, prefix), dataset, prefix)


def assemble(name: str, options: ViewOptions, dataset: DatasetInfo, key: str) -> Pipeline:
    """The pipeline registered as ``name`` with checked keys."""
    _, operations = lookup(name, key)
    mean, std = tuple(options.mean or dataset.mean), tuple(options.std or dataset.std)
    tensor = [transforms.ToTensor(), transforms.Normalize(mean, std)]
    transform = transforms.Compose([*operations(options), *tensor])
    return Pipeline(transform, options.num_crops, options.crop_size, mean, std, name, options, key)


def build_all(nodes: Sequence[Any] | None, dataset: DatasetInfo) -> list[Pipeline]:
    """The pipelines of the key ``augmentations``.

    Raises:
        ConfigError: for a missing list, or anything wrong in an entry.
    """
    if not isinstance(nodes, Sequence) or isinstance(nodes, str) or not nodes:
        raise ConfigError(
            "augmentations is empty: give a list, each entry a block with crop_size, num_crops, ..."
        )
    pipelines = []
    for i, node in enumerate(nodes):
        name = (node.get("pipeline") or "solo") if hasattr(node, "get") else "solo"
        pipelines.append(build(name, node, dataset, f"augmentations[{i}]"))
    return pipelines

# SPDX-License-Identifier: MIT
"""Augmentation pipelines: registered by name, built from a list of ``augmentations``.

A pipeline is a function from its options to the operations from a PIL image to a PIL image; turning
the result into a normalised tensor is the same for all of them::

    @dataclass
    class Options(ViewOptions):
        invert: Chance = ...

    @register("mine", Options)
    def mine(options: Options) -> list[Operation]: ...

Afterwards ``augmentations: [{pipeline: mine, crop_size: 32, invert: {prob: 0.5}}]`` means it.
Operations draw from torch's global generator, which is seeded for each view.
"""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any, TypeVar

from PIL import Image
from torch import Tensor
from torchvision import transforms

from mixmask_solo.config import ConfigError, check, require_known
from mixmask_solo.config.datasets import DatasetInfo
from mixmask_solo.config.outside import load_outside, outside
from mixmask_solo.config.schema.augmentations import ViewOptions

GROUP = "mixmask_solo.pipelines"  # entry points: which module of a package registers a name
Operation = Callable[[Image.Image], Image.Image]
Options = TypeVar("Options", bound=ViewOptions)
Operations = Callable[[Options], list[Operation]]

_PIPELINES: dict[str, tuple[type[ViewOptions], Operations[Any]]] = {}


def register(
    name: str, options: type[Options]
) -> Callable[[Operations[Options]], Operations[Options]]:
    """Decorator that makes a pipeline known by what ``augmentations[i].pipeline`` says.

    Raises:
        ValueError: when the name is taken.
    """
    if name in _PIPELINES:
        raise ValueError(f"an augmentation pipeline named {name!r} is registered already")

    def keep(pipeline: Operations[Options]) -> Operations[Options]:
        _PIPELINES[name] = (options, pipeline)
        return pipeline

    return keep


def known() -> list[str]:
    """Names of all pipelines, sorted; those of installed packages too."""
    return sorted({*_PIPELINES, *outside(GROUP)})


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
        ConfigError: for an unknown name, key or value, or a package that cannot be loaded.
    """
    if name not in _PIPELINES and name in outside(GROUP):
        load_outside(GROUP, name, f"{prefix}.pipeline {name}", _PIPELINES)
    require_known(f"{prefix}.pipeline", name, known())
    schema, _ = _PIPELINES[name]
    return assemble(name, check(node, schema, prefix), dataset, prefix)


def assemble(name: str, options: ViewOptions, dataset: DatasetInfo, key: str) -> Pipeline:
    """The pipeline registered as ``name`` with checked keys."""
    _, operations = _PIPELINES[name]
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

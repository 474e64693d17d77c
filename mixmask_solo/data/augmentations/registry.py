# SPDX-License-Identifier: MIT
"""Augmentation pipelines by name.

A pipeline is a function from its options to the operations from a PIL image to a PIL image; turning
the result into a normalised tensor is the same for all of them::

    @dataclass
    class Options(ViewOptions):
        invert: Chance = ...

    @register("mine", Options)
    def mine(options: Options) -> list[Operation]: ...

Afterwards ``augmentations: [{pipeline: mine, crop_size: 32, invert: {prob: 0.5}}]`` means it.
Operations draw from torch's global generator, which is seeded for each view; other generators would
make a run depend on the number of workers.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, TypeVar

from PIL import Image

from mixmask_solo.config import ConfigError
from mixmask_solo.config.errors import did_you_mean, listing
from mixmask_solo.config.schema.augmentations import ViewOptions

__all__ = ["Operation", "known", "lookup", "register"]

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
    """Names of all pipelines, sorted."""
    return sorted(_PIPELINES)


def lookup(name: Any, prefix: str) -> tuple[type[ViewOptions], Operations[Any]]:
    """Options and function of a pipeline.

    Raises:
        ConfigError: naming the known ones and the nearest.
    """
    if name not in _PIPELINES:
        near = did_you_mean(str(name), known())
        raise ConfigError(f"{prefix}.pipeline is {name!r}: choose {listing(known())}{near}")
    return _PIPELINES[name]

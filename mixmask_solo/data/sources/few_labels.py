# SPDX-License-Identifier: MIT
"""Which training images have a label in fine-tuning: those a list names, a share of each class."""

import re
from collections import defaultdict
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import torch
from numpy.typing import NDArray

from mixmask_solo.config import ConfigError
from mixmask_solo.config.files import read_lines
from mixmask_solo.config.schema.data import LABELS
from mixmask_solo.data.sources.base import Source, Subset, printable
from mixmask_solo.data.sources.class_folders import IMAGENET100
from mixmask_solo.data.sources.published import PUBLISHED, published

_KEY = "data.labels"
# The hub's copy of ImageNet calls n01440764_36.JPEG n01440764_36_n01440764.JPEG, and images that
# were stored anew have another extension.
_IMAGENET = re.compile(r"(n\d{8}_\d+)(?:_n\d{8})?(?:\.\w+)?")


@dataclass(frozen=True)
class FewLabels:
    """The choice of a configuration: ``data.labels``, of these ``data.fraction``.

    Attributes:
        labels: the key's value, for messages.
        names: of the images, as far as a list says; None for all.
        fraction: share of each class, -1 or 1 for all.
        seed: decides which images of a class that is.
    """

    labels: str
    names: tuple[str, ...] | None
    fraction: float
    seed: int

    def __call__(self, source: Source) -> Source:
        """The chosen images of a source of labelled ones, in its order; its classes stay.

        Raises:
            ConfigError: where images of the list are not there, two are called alike, or it has
                none of a class, or two of its names are one image.
        """
        if self.names is not None:
            imagenet = self.labels in PUBLISHED
            chosen = _named(source, self.names, self.labels, imagenet=imagenet)
            _require_each_class(source, chosen, self.labels)
            source = Subset(source, chosen)
        if self.fraction in (-1, 1):
            return source
        return Subset(source, share_of_each_class(source.labels, self.fraction, self.seed))


def few_labels(labels: str, fraction: float, seed: int, dataset: str) -> FewLabels:
    """The choice that keys of ``data`` mean; a file of names is read.

    Raises:
        ConfigError: for a file that is not there, empty, no text, or names an image twice.
    """
    names: Sequence[str] | None = None
    if labels in PUBLISHED:
        names = published(labels)
        if dataset == "imagenet100":
            names = [name for name in names if name.partition("_")[0] in IMAGENET100]
    elif labels not in LABELS:
        names = _read(labels)
    return FewLabels(labels, None if names is None else tuple(names), fraction, seed)


def share_of_each_class(labels: NDArray[np.int64], fraction: float, seed: int) -> NDArray[np.int64]:
    """Which images to take, ascending: of each class ``fraction``, rounded half up, at least one.

    A class's images stand in an order drawn by ``seed``, so a smaller share is part of a larger.

    Args:
        labels: (N,), -1 for none, which is never taken.
        fraction: in (0, 1].
    """
    generator = torch.Generator().manual_seed(seed)
    order = torch.randperm(len(labels), generator=generator).numpy()
    order = order[labels[order] >= 0]
    by_class = order[np.argsort(labels[order], kind="stable")]
    _, firsts = np.unique(labels[by_class], return_index=True)
    chosen = []
    for own in np.split(by_class, firsts[1:]):
        # 0.07 * 100 is 7.000000000000001, and 0.35 * 10 just below 3.5
        count = int(np.floor(round(fraction * len(own), 9) + 0.5))
        chosen.append(own[: max(1, count)])
    return np.sort(np.concatenate(chosen)) if chosen else np.arange(0)


def _read(labels: str) -> list[str]:
    path = Path(labels).expanduser()
    if not path.is_file():
        what = "a folder" if path.is_dir() else "no such file"
        names = ", ".join(LABELS)
        raise ConfigError(
            f"{_KEY} is '{labels}': {what}; choose {names}, or give a text file of image names, "
            "one a line"
        )
    lines: dict[str, int] = {}
    for number, line in enumerate(read_lines(path), start=1):
        name = line.strip().removeprefix("./")
        if name in lines:
            raise ConfigError(
                f"{_KEY} is '{labels}': line {number} names {printable(name)} again, as line "
                f"{lines[name]} does; name each image once"
            )
        if name:
            lines[name] = number
    if not lines:
        raise ConfigError(f"{_KEY} is '{labels}': no name in it; write an image's on each line")
    return list(lines)


def _named(
    source: Source, names: Sequence[str], labels: str, *, imagenet: bool
) -> NDArray[np.int64]:
    """Where the images with these names are, ascending.

    A name matches the end of an image's path, by whole parts; ``imagenet``: by class and number.
    """
    wanted: dict[int, set[str]] = defaultdict(set)  # by number of parts
    for name in names:
        wanted[name.count("/") + 1].add(_stem(name) if imagenet else name)
    found: dict[str, int] = {}
    for index in range(len(source)):
        path = source.path(index)
        parts = () if path is None else path.replace("\\", "/").split("/")
        before = ""
        for depth, those in wanted.items():
            end = "/".join(parts[-depth:])
            end = _stem(end) if imagenet else end
            if end not in those:
                continue
            if end in found:
                both = f"{printable(source.name(found[end]))} and {printable(source.name(index))}"
                raise ConfigError(
                    f"{_KEY} is '{labels}': {printable(end)} is two training images, {both}; write "
                    "names with their folders"
                )
            if before:
                raise ConfigError(
                    f"{_KEY} is '{labels}': {printable(before)} and {printable(end)} name one "
                    f"image, {printable(source.name(index))}; name each image once"
                )
            found[end], before = index, end
    _require_all(source, names, found, labels, imagenet=imagenet)
    return np.array(sorted(found.values()), dtype=np.int64)


def _require_all(
    source: Source, names: Sequence[str], found: dict[str, int], labels: str, *, imagenet: bool
) -> None:
    absent = [name for name in names if (_stem(name) if imagenet else name) not in found]
    if not absent:
        return
    example = source.path(0)
    if example is None:
        raise ConfigError(
            f"{_KEY} is '{labels}': the training images ({printable(source.name(0))}) have no "
            "names to find a list's by; choose with data.fraction instead"
        )
    instead = "give the whole of ImageNet-1K" if imagenet else "correct the list"
    raise ConfigError(
        f"{_KEY} is '{labels}': {len(absent):,} of its {len(names):,} images are not among the "
        f"{len(source):,} labelled training images, {printable(absent[0])} for one (these are "
        f"called as {printable(example)}); {instead}, or list those that are there in a file"
    )


def _require_each_class(source: Source, chosen: NDArray[np.int64], labels: str) -> None:
    absent = np.setdiff1d(source.labels, source.labels[chosen])
    if len(absent):
        raise ConfigError(
            f"{_KEY} is '{labels}': none of its images is of class "
            f"{printable(source.classes[absent[0]])} (of {len(absent)} of {source.num_classes} "
            "classes): name at least one of each"
        )


def _stem(name: str) -> str:
    """Class and number of an ImageNet image; any other name as it is."""
    fits = _IMAGENET.fullmatch(name)
    return fits[1] if fits else name

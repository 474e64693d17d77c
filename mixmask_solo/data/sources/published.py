# SPDX-License-Identifier: MIT
"""Which images of ImageNet-1K have a label when few do: SimCLR's lists of 1 % and 10 %.

They are those that SimCLR, BYOL, SwAV and Barlow Twins fine-tune on (google-research/simclr,
``imagenet_subsets``, Apache-2.0; see ``simclr/README.md``). A training image is called
``<class>_<number>.JPEG``, so a list is its classes and their numbers, as :func:`pack` lays it out.
"""

import hashlib
import lzma
from collections import defaultdict
from collections.abc import Iterable
from pathlib import Path
from typing import NamedTuple

import numpy as np

_FOLDER = Path(__file__).with_name("simclr")


class _Facts(NamedTuple):
    """Of a list: number of names, and the digest of the sorted names, one a line."""

    images: int
    sha256: str


PUBLISHED = {
    "1percent": _Facts(12_811, "c03b85c3942f663c123a38b0d7a0eecb01730a1e96bd97384f0f3e60c6f3397c"),
    "10percent": _Facts(
        128_116, "d9bc1445836f11cbba81b22781ccafab15a3a6a31dd14e22e6cf7617e1ee3f68"
    ),
}


def published(name: str) -> list[str]:
    """The file names of a list, ``1percent`` or ``10percent``, sorted.

    Raises:
        ValueError: where the packed file is not the one that was published.
    """
    names = unpack((_FOLDER / f"{name}.xz").read_bytes())
    if (len(names), digest(names)) != PUBLISHED[name]:
        raise ValueError(f"{_FOLDER / name}.xz is damaged: install the package anew")
    return names


def digest(names: Iterable[str]) -> str:
    """SHA-256 of the sorted names, each with a line's end."""
    return hashlib.sha256("".join(f"{name}\n" for name in sorted(names)).encode()).hexdigest()


def pack(names: Iterable[str]) -> bytes:
    """Names such as ``n01440764_10026.JPEG`` as compressed numbers.

    The number of classes; of each class how far it is from the one before, then how many images it
    has; of each image how far its number is from the one before in its class. 32 bits each, first
    all lowest bytes, then the next: alike bytes compress best side by side.
    """
    of_class: dict[int, list[int]] = defaultdict(list)
    for name in names:
        wnid, number = name[1:].removesuffix(".JPEG").split("_")
        of_class[int(wnid)].append(int(number))
    classes = sorted(of_class)
    steps = [np.diff(sorted(of_class[wnid]), prepend=0) for wnid in classes]
    parts = [[len(classes)], np.diff(classes, prepend=0), [len(s) for s in steps], *steps]
    words = np.concatenate([np.asarray(part, dtype="<u4") for part in parts])
    planes = np.ascontiguousarray(words.view(np.uint8).reshape(-1, 4).T)
    return lzma.compress(planes.tobytes(), preset=9 | lzma.PRESET_EXTREME)


def unpack(packed: bytes) -> list[str]:
    """What :func:`pack` was given, sorted by class and number."""
    planes = np.frombuffer(lzma.decompress(packed), dtype=np.uint8).reshape(4, -1)
    words = np.ascontiguousarray(planes.T).view("<u4")[:, 0].astype(np.int64)
    count = int(words[0])
    wnids, sizes, steps = np.split(words[1:], [count, 2 * count])
    ends = np.cumsum(sizes)[:-1]
    numbers = [np.cumsum(part) for part in np.split(steps, ends)]
    return [
        f"n{wnid:08d}_{number}.JPEG"
        for wnid, own in zip(np.cumsum(wnids).tolist(), numbers, strict=True)
        for number in own.tolist()
    ]

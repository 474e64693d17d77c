# SPDX-License-Identifier: MIT
"""Reads every image of a data set and tells what is wrong and what is odd."""

import hashlib
import warnings
from collections import Counter, defaultdict
from collections.abc import Callable, Mapping, Sequence
from dataclasses import asdict, dataclass
from functools import partial
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray
from PIL import Image

from mixmask_solo.data.order.workers import Loader
from mixmask_solo.data.sources import Source
from mixmask_solo.data.sources.base import printable
from mixmask_solo.data.tolerance import Damaged, damage_of

_CHUNK = 32
_KEPT = 20  # examples of each oddity
_ORIENTATION = 0x0112
_SMALL, _LONG, _LARGE = 8, 10, 50_000_000

Advance = Callable[[int], None]
Range = tuple[int, int, int]  # least, median, most


@dataclass
class SplitReport:
    """What one split holds."""

    images: int
    damaged: list[Damaged]
    classes: int
    class_sizes: Range | None
    empty_classes: list[str]
    widths: Range | None  # pixels
    heights: Range | None
    modes: dict[str, int]  # Pillow's, and how often they occur
    formats: dict[str, int]
    odd: dict[str, tuple[int, list[str]]]  # per oddity the number of images, and the first names
    repeated: int  # images whose bytes another image of this split has too
    passed_over: dict[str, int]  # in folders, kinds of what is taken for no image


@dataclass
class Report:
    """What a data set holds."""

    splits: dict[str, SplitReport]
    shared: list[tuple[str, str]]  # a validation image, and the training image of the same bytes

    @property
    def damaged(self) -> int:
        """Number of images that cannot be read."""
        return sum(len(split.damaged) for split in self.splits.values())

    def as_dict(self) -> dict[str, Any]:
        """Plain values, for JSON."""
        content = asdict(self) | {"ok": self.damaged == 0}
        for name, split in self.splits.items():
            content["splits"][name]["damaged"] = [one._asdict() for one in split.damaged]
        return content


class _Facts(NamedTuple):
    """What is known about an image; of a damaged one only why it cannot be read."""

    number: int
    size: tuple[int, int] = (0, 0)
    mode: str = ""
    format: str = ""
    digest: bytes = b""
    odd: Sequence[str] = ()
    damage: str = ""


def check(
    splits: Mapping[str, Source], *, workers: int = 0, advance: Advance = lambda count: None
) -> Report:
    """Decodes every image once in ``workers`` processes, and compares ``train`` with ``val``.

    ``advance`` is told how many more images are through.
    """
    reports: dict[str, SplitReport] = {}
    digests: dict[str, dict[bytes, int]] = {"train": {}, "val": {}}
    for name, source in splits.items():
        reports[name], digests[name] = _split(source, workers, advance)
    train = digests["train"]
    shared = [
        (printable(splits["val"].name(i)), printable(splits["train"].name(train[digest])))
        for digest, i in digests["val"].items()
        if digest in train
    ]
    return Report(reports, shared)


def _split(source: Source, workers: int, advance: Advance) -> tuple[SplitReport, dict[bytes, int]]:
    def name(index: int) -> str:
        return printable(source.name(index))

    damaged: list[Damaged] = []
    sizes = np.zeros((len(source), 2), dtype=np.int64)
    modes, formats = Counter[str](), Counter[str]()
    digests: dict[bytes, int] = {}
    odd: dict[str, list[int]] = defaultdict(list)
    if workers:
        source.warm()
    look = partial(_look, source)
    for chunk in Loader(range(len(source)), _CHUNK, num_workers=workers, collate_fn=look):
        for facts in chunk:
            if facts.damage:
                damaged.append(Damaged(name(facts.number), facts.damage))
                continue
            sizes[facts.number] = facts.size
            modes[facts.mode] += 1
            formats[facts.format] += 1
            digests.setdefault(facts.digest, facts.number)
            for remark in facts.odd:
                odd[remark].append(facts.number)
        advance(len(chunk))
    widths, heights = sizes[sizes[:, 0] > 0].T
    passed_over: dict[str, int] = getattr(source, "passed_over", {})
    counts = np.bincount(source.labels[source.labels >= 0], minlength=len(source.classes))
    of_classes = zip(source.classes, counts, strict=False)
    report = SplitReport(
        images=len(source),
        damaged=damaged,
        classes=len(source.classes),
        class_sizes=_range(counts) if source.classes else None,
        empty_classes=[printable(one) for one, count in of_classes if count == 0],
        widths=_range(widths),
        heights=_range(heights),
        modes=dict(modes.most_common()),
        formats=dict(formats.most_common()),
        odd={
            remark: (len(found), [name(i) for i in found[:_KEPT]])
            for remark, found in sorted(odd.items())
        },
        repeated=len(source) - len(damaged) - len(digests),
        passed_over=dict(sorted(passed_over.items(), key=lambda kind: (-kind[1], kind[0]))),
    )
    return report, digests


def _range(values: NDArray[np.int64]) -> Range | None:
    if len(values) == 0:
        return None
    return int(values.min()), int(np.median(values)), int(values.max())


def _look(source: Source, indexes: Sequence[int]) -> list[_Facts]:
    return [_examine(source, index) for index in indexes]


def _examine(source: Source, index: int) -> _Facts:
    """Decodes one image as training does, and looks at what training does not."""
    with warnings.catch_warnings(record=True) as said:
        warnings.simplefilter("always")
        try:
            stored = source.encoded(index)
            raw = np.asarray(source.load(index)) if stored is None else stored
            digest = hashlib.blake2b(np.ascontiguousarray(raw).data, digest_size=16).digest()
            image = source.load(index)
            image.convert("RGB")
        except Exception as error:  # as in Source.image
            return _Facts(index, damage=damage_of(source, index, error).reason)
        odd = _oddities(image)
    remarks = {" ".join(str(one.message).split()) for one in said}
    kind = getattr(image, "format", None) or "array"
    return _Facts(index, image.size, image.mode, kind, digest, (*odd, *sorted(remarks)))


def _oddities(image: Image.Image) -> list[str]:
    width, height = image.size
    transparent = image.mode in ("LA", "PA", "RGBA", "La", "RGBa") or "transparency" in image.info
    remarks = {
        f"shorter side below {_SMALL} pixels": min(width, height) < _SMALL,
        f"one side over {_LONG} times the other": max(width, height) > _LONG * min(width, height),
        "over 50 megapixels": width * height > _LARGE,
        "more than 8 bits a channel: values above 255 become white": image.mode[0] in "IF",
        "transparent: alpha is dropped": transparent,
    }
    odd = [remark for remark, holds in remarks.items() if holds]
    try:
        if getattr(image, "n_frames", 1) > 1:
            odd.append("several frames: only the first is used")
        if image.getexif().get(_ORIENTATION, 1) not in (0, 1):
            odd.append("turned by its EXIF orientation, which is ignored")
    except Exception:  # training looks at neither, so it is no damage
        odd.append("later frames or EXIF cannot be read, which training does not need")
    return odd

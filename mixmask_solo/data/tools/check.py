# SPDX-License-Identifier: MIT
"""Reads every image of a data set and tells what is wrong and what is odd."""

from __future__ import annotations

from collections import Counter, defaultdict
from collections.abc import Callable, Mapping
from dataclasses import asdict, dataclass, field
from typing import Any

import numpy as np

from mixmask_solo.data.order.workers import Loader
from mixmask_solo.data.sources import Source
from mixmask_solo.data.sources.base import printable
from mixmask_solo.data.tolerance import Damaged
from mixmask_solo.data.tools.examine import Examination

__all__ = ["Report", "SplitReport", "check"]

_CHUNK = 32
_KEPT = 20  # examples of each oddity

Advance = Callable[[int], None]


@dataclass
class SplitReport:
    """What one split holds.

    Attributes:
        images: their number.
        damaged: those that cannot be read, with the reason.
        classes: number of classes.
        class_sizes: (fewest, median, most) images of a class.
        empty_classes: names of classes without an image.
        widths: (least, median, most) pixels.
        heights: likewise.
        modes: Pillow's colour modes and how often they occur.
        formats: file formats likewise.
        odd: per oddity the number of images and the first of their names.
        repeated: images whose bytes another image of this split has too.
        passed_over: in folders, kinds of what is taken for no image, and how many there are.
    """

    images: int = 0
    damaged: list[Damaged] = field(default_factory=list)
    classes: int = 0
    class_sizes: tuple[int, int, int] | None = None
    empty_classes: list[str] = field(default_factory=list)
    widths: tuple[int, int, int] | None = None
    heights: tuple[int, int, int] | None = None
    modes: dict[str, int] = field(default_factory=dict)
    formats: dict[str, int] = field(default_factory=dict)
    odd: dict[str, tuple[int, list[str]]] = field(default_factory=dict)
    repeated: int = 0
    passed_over: dict[str, int] = field(default_factory=dict)


@dataclass
class Report:
    """What a data set holds.

    Attributes:
        splits: by name.
        shared: pairs of names: a validation image, and the training image of the same bytes.
    """

    splits: dict[str, SplitReport]
    shared: list[tuple[str, str]]

    @property
    def damaged(self) -> int:
        """Number of images that cannot be read."""
        return sum(len(split.damaged) for split in self.splits.values())

    def as_dict(self) -> dict[str, Any]:
        """Plain values, for JSON."""
        content = asdict(self) | {"ok": self.damaged == 0}
        for split, plain in zip(self.splits.values(), content["splits"].values(), strict=True):
            plain["damaged"] = [one._asdict() for one in split.damaged]
        return content


def check(
    splits: Mapping[str, Source], *, workers: int = 0, advance: Advance = lambda count: None
) -> Report:
    """Decodes every image once.

    Args:
        splits: sources by name; ``train`` and ``val`` are compared with each other.
        workers: processes that decode.
        advance: told how many more images are through.
    """
    reports: dict[str, SplitReport] = {}
    digests: dict[str, dict[bytes, int]] = {}
    for name, source in splits.items():
        reports[name], digests[name] = _split(source, workers, advance)
    shared: list[tuple[str, str]] = []
    if "train" in digests and "val" in digests:
        train = digests["train"]
        shared = [
            (printable(splits["val"].name(i)), printable(splits["train"].name(train[digest])))
            for digest, i in digests["val"].items()
            if digest in train
        ]
    return Report(reports, shared)


def _split(source: Source, workers: int, advance: Advance) -> tuple[SplitReport, dict[bytes, int]]:
    report = SplitReport(images=len(source))
    passed_over: dict[str, int] = getattr(source, "passed_over", {})
    report.passed_over = dict(sorted(passed_over.items(), key=lambda kind: (-kind[1], kind[0])))
    sizes = np.zeros((len(source), 2), dtype=np.int64)
    modes, formats = Counter[str](), Counter[str]()
    digests: dict[bytes, int] = {}
    odd: dict[str, list[int]] = defaultdict(list)
    if workers:
        source.warm()
    loader = Loader(Examination(source), batch_size=_CHUNK, num_workers=workers, collate_fn=list)
    for chunk in loader:
        for facts in chunk:
            if facts.size is None:
                report.damaged.append(Damaged(printable(source.name(facts.number)), facts.damage))
                continue
            sizes[facts.number] = facts.size
            modes[facts.mode] += 1
            formats[facts.format or "array"] += 1
            report.repeated += facts.digest in digests
            digests.setdefault(facts.digest, facts.number)
            for remark in facts.odd:
                odd[remark].append(facts.number)
        advance(len(chunk))
    report.modes, report.formats = dict(modes.most_common()), dict(formats.most_common())
    report.odd = {
        remark: (len(found), [printable(source.name(i)) for i in found[:_KEPT]])
        for remark, found in sorted(odd.items())
    }
    read = sizes[sizes[:, 0] > 0]
    report.widths, report.heights = _range(read[:, 0]), _range(read[:, 1])
    _count_classes(report, source)
    return report, digests


def _count_classes(report: SplitReport, source: Source) -> None:
    if not source.classes:
        return
    counts = np.bincount(source.labels[source.labels >= 0], minlength=len(source.classes))
    report.classes = len(source.classes)
    report.class_sizes = _range(counts)
    report.empty_classes = [
        printable(name) for name, n in zip(source.classes, counts, strict=True) if n == 0
    ]


def _range(values: Any) -> tuple[int, int, int] | None:
    if len(values) == 0:
        return None
    return int(values.min()), int(np.median(values)), int(values.max())

# SPDX-License-Identifier: MIT
"""What ``mixmask-data check`` found, for reading."""

from mixmask_solo.data.tools import Report
from mixmask_solo.data.tools.check import SplitReport

_EXAMPLES = 3
_DAMAGED = 50


def as_text(title: str, report: Report) -> str:
    """A few lines a split, every damaged file, and a verdict."""
    lines = [title]
    for name, split in report.splits.items():
        lines += _split(name, split)
    if report.shared:
        pairs = "; ".join(f"{mine} = {theirs}" for mine, theirs in report.shared[:_EXAMPLES])
        more = "; ..." if len(report.shared) > _EXAMPLES else ""
        lines.append(
            f"  warning: {len(report.shared):,} val images are also in train: {pairs}{more}"
        )
    images = sum(split.images for split in report.splits.values())
    verdict = f"{report.damaged:,} of {images:,} images cannot be read"
    lines.append(f"  {verdict}" if report.damaged else f"  all {images:,} images can be read")
    return "\n".join(lines)


def _split(name: str, split: SplitReport) -> list[str]:
    lines = [f"  {name}: {split.images:,} images{_classes(split)}"]
    if split.widths and split.heights:
        lines.append(f"    width {_range(split.widths)}, height {_range(split.heights)} pixels")
    lines.append(f"    {_counts(split.formats)}; {_counts(split.modes)}")
    if split.empty_classes:
        lines.append(f"    warning: class folders without images: {', '.join(split.empty_classes)}")
    if split.repeated:
        lines.append(f"    note: {split.repeated:,} images repeat another one's bytes")
    if split.passed_over:
        lines.append(f"    note: files passed over: {_counts(split.passed_over)}")
    for remark, (count, names) in split.odd.items():
        more = ", ..." if count > _EXAMPLES else ""
        lines.append(f"    odd: {remark}: {count:,} ({', '.join(names[:_EXAMPLES])}{more})")
    lines += [f"    damaged: {one.name}: {one.reason}" for one in split.damaged[:_DAMAGED]]
    if len(split.damaged) > _DAMAGED:
        lines.append(f"    damaged: and {len(split.damaged) - _DAMAGED:,} more (--json lists all)")
    return lines


def _classes(split: SplitReport) -> str:
    if split.class_sizes is None:
        return " without labels"
    low, middle, high = split.class_sizes
    each = f"{low:,} each" if low == high else f"{low:,} to {high:,} each, median {middle:,}"
    return f" of {split.classes:,} classes, {each}"


def _range(values: tuple[int, int, int]) -> str:
    low, middle, high = values
    return f"{low:,}" if low == high else f"{low:,} to {high:,} (median {middle:,})"


def _counts(counts: dict[str, int]) -> str:
    return ", ".join(f"{name} {count:,}" for name, count in counts.items()) or "none"

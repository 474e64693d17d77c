# SPDX-License-Identifier: MIT
"""What ``mixmask-data`` found and measured, for reading."""

from mixmask_solo.bench.data_bench import Bench, Rate
from mixmask_solo.data.tools import Report
from mixmask_solo.data.tools.check import SplitReport
from mixmask_solo.report import columns

_EXAMPLES = 3
_DAMAGED = 50
_HEAD = ("decoder", "images/s", "lowest", "highest", "data/step", "waiting")
_ENOUGH = 0.03  # of a run's time; less waiting than this is not worth a word


def check_text(title: str, report: Report) -> str:
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


def bench_text(result: Bench) -> str:
    """The decoders in columns, who cannot run and why, and one line on what to do."""
    how = "as given"
    if result.measured:
        how = f"measured on {result.device} with batches of {result.step_batch}"
    lines = [_HEAD, *(_cells(result, rate) for rate in result.decoders)]
    gone = [f"- {rate.name}: {rate.problem}" for rate in result.decoders if not rate.rates]
    need = f"* the configuration's own; the step takes in {result.need:,.0f} images/s ({how})"
    return "\n".join([columns(lines, right=range(1, len(_HEAD))), need, *gone, verdict(result)])


def verdict(result: Bench) -> str:
    """Whether the network waits, and what would help."""
    usable = [rate for rate in result.decoders if rate.rates]
    best = min(usable, key=result.waiting)
    chosen = next((rate for rate in usable if rate.name == result.chosen), None)
    if chosen is None:
        return f"{result.chosen} cannot run here; the best that can is {best.name}"
    waits = result.waiting(chosen)
    gives = f"{chosen.name} gives {chosen.median:,.0f} images/s"
    if waits <= _ENOUGH:
        return f"the network would not wait: {gives}"
    device = f" dali.device={best.name.split()[1]}" if " " in best.name else ""
    remedy = f"use {best.setting}{device} ({best.median:,.0f}, waiting {result.waiting(best):.0%})"
    if best is chosen:
        remedy = (
            "no other decoder here is faster; more data.num_workers may be, where there are cores"
        )
    return f"the network would wait {waits:.0%} of the time: {gives}; {remedy}"


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


def _cells(result: Bench, rate: Rate) -> list[str]:
    name = f"{rate.name} *" if rate.name == result.chosen else rate.name
    if not rate.rates:
        return [name, "-", "", "", "", ""]
    speeds = rate.median, min(rate.rates), max(rate.rates)
    shares = result.data_share(rate), result.waiting(rate)
    return [name, *(f"{x:,.0f}" for x in speeds), *(f"{x:.0%}" for x in shares)]

# SPDX-License-Identifier: MIT
"""What ``mixmask-data bench`` measured, for reading."""

from mixmask_solo.bench.data_bench import Bench, Rate
from mixmask_solo.report.columns import columns

_HEAD = ("decoder", "images/s", "lowest", "highest", "data/step", "waiting")
_ENOUGH = 0.03  # of a run's time; less waiting than this is not worth a word


def as_text(result: Bench) -> str:
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
    gives = f"it needs {result.need:,.0f} images/s, {chosen.name} gives {chosen.median:,.0f}"
    if waits <= _ENOUGH:
        return f"the network would not wait: {gives}"
    device = f" dali.device={best.name.split()[1]}" if " " in best.name else ""
    remedy = f"use {best.setting}{device} ({best.median:,.0f}, waiting {result.waiting(best):.0%})"
    if best is chosen:
        remedy = (
            "no other decoder here is faster; more data.num_workers may be, where there are cores"
        )
    return f"the network would wait {waits:.0%} of the time: {gives}; {remedy}"


def _cells(result: Bench, rate: Rate) -> list[str]:
    name = f"{rate.name} *" if rate.name == result.chosen else rate.name
    if not rate.rates:
        return [name, "-", "", "", "", ""]
    speeds = rate.median, min(rate.rates), max(rate.rates)
    shares = result.data_share(rate), result.waiting(rate)
    return [name, *(f"{x:,.0f}" for x in speeds), *(f"{x:.0%}" for x in shares)]

# SPDX-License-Identifier: MIT
"""What ``mixmask-data bench`` measured, for reading."""

from __future__ import annotations

from rich.console import Console
from rich.table import Table

from mixmask_solo.bench.data_bench import Bench
from mixmask_solo.bench.decoder_rate import Rate

__all__ = ["as_text", "verdict"]

_ENOUGH = 0.03  # of a run's time; less waiting than this is not worth a word


def as_text(result: Bench) -> str:
    """A table of the decoders and one line on what to do."""
    table = Table(box=None, pad_edge=False, header_style="")
    table.add_column("decoder")
    for title in ("images/s", "lowest", "highest", "data/step", "waiting"):
        table.add_column(title, justify="right")
    for rate in result.decoders:
        table.add_row(*_cells(result, rate))
    console = Console(width=100, highlight=False)
    with console.capture() as captured:
        console.print(table)
    return f"{captured.get().rstrip()}\n{_need(result)}\n{verdict(result)}"


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
    if best is chosen:
        help_ = (
            "no other decoder here is faster; more data.num_workers may be, where there are cores"
        )
        return f"the network would wait {waits:.0%} of the time: {gives}; {help_}"
    return (
        f"the network would wait {waits:.0%} of the time: {gives}; use {best.setting}"
        f"{' dali.device=' + best.name.split()[1] if ' ' in best.name else ''} "
        f"({best.median:,.0f}, waiting {result.waiting(best):.0%})"
    )


def _cells(result: Bench, rate: Rate) -> list[str]:
    mark = " *" if rate.name == result.chosen else ""
    if not rate.rates:
        return [f"{rate.name}{mark}", "-", "", "", "", ""]
    return [
        f"{rate.name}{mark}",
        f"{rate.median:,.0f}",
        f"{min(rate.rates):,.0f}",
        f"{max(rate.rates):,.0f}",
        f"{result.data_share(rate):.0%}",
        f"{result.waiting(rate):.0%}",
    ]


def _need(result: Bench) -> str:
    how = (
        f"measured on {result.device} with batches of {result.step_batch}"
        if result.measured
        else "as given"
    )
    lines = [f"* the configuration's own; the step takes in {result.need:,.0f} images/s ({how})"]
    lines += [f"- {rate.name}: {rate.problem}" for rate in result.decoders if not rate.rates]
    return "\n".join(lines)

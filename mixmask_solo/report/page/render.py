# SPDX-License-Identifier: MIT
"""The page itself: all it needs lies within it, and what runs say of themselves is escaped."""

import json
from collections.abc import Callable, Mapping, Sequence
from datetime import datetime, timezone
from functools import cache
from pathlib import Path
from typing import Any, NamedTuple

from jinja2 import Environment, FileSystemLoader, StrictUndefined
from markupsafe import Markup

from mixmask_solo import __version__
from mixmask_solo.config.files import replacing
from mixmask_solo.records.registry.record import RunRecord
from mixmask_solo.report.page import results, sections
from mixmask_solo.report.page.data import Group, PageRun, differing, groups, of_records, text
from mixmask_solo.report.page.results import PaperCell, Table
from mixmask_solo.report.page.series import as_json, charts
from mixmask_solo.report.palette import COLORS, lighter

WEB = Path(__file__).parents[1] / "web"
# Nothing is loaded from anywhere: a browser refuses what the page itself does not hold.
POLICY = (
    "default-src 'none'; style-src 'unsafe-inline'; script-src 'unsafe-inline'; img-src data:; "
    "base-uri 'none'; form-action 'none'"
)
LIVE_POLICY = f"{POLICY}; connect-src 'self'"  # asks its own server whether there is news


class Samples(NamedTuple):
    """Pictures of a run's input: rows of ``data:`` addresses; or a line why there are none."""

    title: str
    parts: Sequence[Mapping[str, Any]] = ()
    note: str = ""


Draw = Callable[[RunRecord], Samples]


def page(
    runs: Sequence[PageRun],
    *,
    draw: Draw | None = None,
    cells: Sequence[PaperCell] = (),
    tables: Sequence[Table] = (),
    title: str = "",
    version: str = "",
) -> str:
    """One HTML page of one run, or of several over each other; of tables alone, too.

    Args:
        runs: of one folder each, see ``data.read``.
        draw: makes the pictures of a run's input; without it the page has none.
        cells: numbers of the paper beside ours.
        tables: further sections.
        title: of the page, made of the runs when left out.
        version: of a page that is served and refreshes itself, what it is made of.

    Raises:
        ConfigError: for a record that is not as docs/results.md says, naming it.
    """

    def made(of: Sequence[PageRun]) -> str:
        drawn = draw if of is runs else None  # not again to find what is damaged
        return _page(of, draw=drawn, cells=cells, tables=tables, title=title, version=version)

    return of_records(made, runs)


def _page(
    runs: Sequence[PageRun],
    *,
    draw: Draw | None,
    cells: Sequence[PaperCell],
    tables: Sequence[Table],
    title: str,
    version: str,
) -> str:
    found = groups(runs)
    made, constant = charts(found)
    environment = Environment(
        loader=FileSystemLoader(WEB),
        autoescape=True,
        undefined=StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
    )
    environment.filters["text"] = text
    told = {**as_json(made), "version": version}
    return environment.get_template("page.html.j2").render(
        title=title or _title(found, runs),
        policy=LIVE_POLICY if version else POLICY,
        style=_file("uPlot.min.css") + _colors() + _file("page.css"),
        scripts=[_file("uPlot.iife.min.js"), _file("charts.js")],
        data=_script_json(told),
        live=bool(version),
        made=f"{datetime.now(timezone.utc):%Y-%m-%d %H:%M} UTC",
        package=__version__,
        groups=found,
        runs=[_told(run) for run in runs],
        numbers=results.numbers(found[0], runs) if len(found) == 1 else [],
        charts=made,
        constant=constant,
        pieces=sections.pieces(runs),
        samples=_samples(found, draw),
        cells=cells,
        tables=tables,
        **_compared(found, runs),
    )


def _title(found: Sequence[Group], runs: Sequence[PageRun]) -> str:
    return " · ".join(group.label for group in found) if len(found) < 4 else f"{len(runs)} runs"


def write(path: Path, content: str) -> None:
    """The whole page or nothing, and its folder."""
    path.parent.mkdir(parents=True, exist_ok=True)
    with replacing(path) as temporary:
        temporary.write_text(content, "utf-8")


def _told(run: PageRun) -> dict[str, Any]:
    return {
        "name": run.name,
        "folder": run.record.name,
        "state": run.record.state(),
        "collapse": run.record.collapse,
        "error": str(run.record.result.get("error") or ""),
        "summary": sections.summary(run),
        "blocks": sections.blocks(run),
        "setup": sections.setup(run),
        "time": sections.time_facts(run),
        "environment": sections.environment(run),
        "seed": text(run.seed),
    }


def _compared(found: Sequence[Group], runs: Sequence[PageRun]) -> dict[str, Any]:
    if len(found) == 1:
        return {"comparison": None, "best": set(), "differs": {}}
    first = [group.runs[0] for group in found]
    differs = {key: values for key, values in differing(first).items() if key != "name"}
    same_kind = len({run.record.kind for run in first}) == 1
    table = results.comparison(found, runs)
    return {
        "comparison": table,
        "best": results.best_cells(table, found, runs),
        "differs": differs if same_kind else {},
    }


def _samples(found: Sequence[Group], draw: Draw | None) -> list[Samples]:
    """A picture for each group, since repetitions see the same kind of input; groups that see the
    very same share one."""
    if draw is None:
        return []
    same: dict[str, tuple[Samples, list[str]]] = {}
    for group in found:
        if group.runs[0].record.kind == "pretrain":
            drawn = draw(group.runs[0].record)
            same.setdefault(repr(drawn), (drawn, []))[1].append(group.label)
    return [drawn._replace(title=", ".join(labels)) for drawn, labels in same.values()]


def _colors() -> str:
    """The package's colours as the page's, for light and dark."""
    light = "".join(f"--c{i}:{color};" for i, color in enumerate(COLORS))
    dark = "".join(f"--c{i}:{lighter(color, 0.35)};" for i, color in enumerate(COLORS))
    return f":root{{{light}}}@media(prefers-color-scheme:dark){{:root{{{dark}}}}}"


@cache
def _file(name: str) -> Markup:
    return Markup((WEB / name).read_text("utf-8"))


def _script_json(content: object) -> Markup:
    """JSON that cannot end the element it stands in."""
    plain = json.dumps(content, ensure_ascii=False, separators=(",", ":"), allow_nan=False)
    return Markup(plain.replace("&", "\\u0026").replace("<", "\\u003c").replace(">", "\\u003e"))

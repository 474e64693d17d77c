# SPDX-License-Identifier: MIT
"""Curves as numbers: thinned, against epochs, repetitions as a mean with its band."""

import math
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field
from statistics import fmean
from typing import Any

from mixmask_solo.report.metrics import Series
from mixmask_solo.report.page.data import Group, PageRun
from mixmask_solo.report.panels import AP, LAM, PANELS, RANK, SPREAD, label_of, means_of, panel

LIMIT = 1000  # points of a series of steps
_LOWEST = {LAM: 0.0, SPREAD: 0.0, RANK: 0.0}
_HIGHEST = {LAM: 1.0}
_ORDER = ("accuracy in %", AP, "loss terms")  # what is asked for first; the others as they come

Points = list[tuple[float, float]]


@dataclass(frozen=True)
class Curve:
    """``points`` are (x, y); of several runs ``low`` and ``high`` hold the band's y for each x."""

    label: str
    color: int
    points: Points
    steps: Points = field(default_factory=list)  # single steps, drawn faint
    low: list[float] = field(default_factory=list)
    high: list[float] = field(default_factory=list)

    @property
    def last(self) -> float | None:
        return self.points[-1][1] if self.points else None


@dataclass(frozen=True)
class Chart:
    title: str
    axis: str  # what x counts
    curves: Sequence[Curve]
    lowest: float | None = None
    highest: float | None = None

    @property
    def spoken(self) -> str:
        """What the chart shows, for those who do not see it."""
        told = [
            f"{c.label}: {c.points[0][1]:.4g} to {c.points[-1][1]:.4g}"
            for c in self.curves
            if c.points
        ]
        keys = "Arrow keys read values, plus and minus zoom, Escape resets."
        return f"{self.title} by {self.axis}. {'; '.join(told)}. {keys}"


def thin(points: Points, limit: int = LIMIT) -> Points:
    """At most ``limit`` points, among them the ends and of each stretch the lowest and highest.

    ``points`` are in the order of x, which is kept; a value that is not finite is left out where
    its stretch has others.
    """
    if len(points) <= limit:
        return points
    inner, stretches = points[1:-1], (limit - 2) // 2
    kept = [points[0]]
    for i in range(stretches):
        part = inner[i * len(inner) // stretches : (i + 1) * len(inner) // stretches]
        finite = [point for point in part if math.isfinite(point[1])] or part
        ends = {min(finite, key=lambda p: p[1]), max(finite, key=lambda p: p[1])}
        kept += sorted(ends)
    return [*kept, points[-1]]


def charts(found: Sequence[Group]) -> tuple[list[Chart], list[str]]:
    """Charts of one run (terms over each other, steps behind means) or of several (a metric a
    chart), and in words what is the same all along."""
    axis = "epoch" if all(run.per_epoch for group in found for run in group.runs) else "step"
    runs = [run for group in found for run in group.runs]
    return _of_one(runs[0], axis) if len(runs) == 1 else _of_several(found, axis)


def _of_one(run: PageRun, axis: str) -> tuple[list[Chart], list[str]]:
    made, constant = [], []
    for title in _titles():
        curves: list[Curve] = []
        for name, means in panel(run.columns, PANELS[title]).items():
            steps = run.columns.get(f"{name}_step", {})
            values = {round(v, 5) for v in (*means.values(), *steps.values())}
            if title == LAM and len(values) == 1:
                constant.append(f"λ of {label_of(name)} is {values.pop():.3g} throughout")
                continue
            points, behind = _points(run, means, axis), _points(run, steps, axis)
            points = points if _by_epoch(run, name) else thin(points)
            behind = [] if steps is means else behind
            curves.append(Curve(label_of(name), len(curves), points, thin(behind)))
        if curves:
            made.append(_chart(title, axis, curves))
    return made, constant


def _of_several(found: Sequence[Group], axis: str) -> tuple[list[Chart], list[str]]:
    made, constant = [], []
    for title in _titles():
        runs = [run for group in found for run in group.runs]
        names = dict.fromkeys(name for run in runs for name in panel(run.columns, PANELS[title]))
        for name in sorted(names, key=lambda n: n != "train_loss"):
            own = [(group, [means_of(run.columns, name) for run in group.runs]) for group in found]
            values = {round(v, 5) for _, all_ in own for means in all_ for v in means.values()}
            if title == LAM and len(values) == 1:
                constant.append(f"λ of {label_of(name)} is {values.pop():.3g} throughout")
                continue
            curves = [_mean(group, name, axis) for group, several in own if any(several)]
            many = len(names) > 1
            head = f"{title}: {label_of(name)}" if many else title
            made.append(_chart(head, axis, curves, title))
    return made, constant


def _titles() -> list[str]:
    return sorted(PANELS, key=lambda t: _ORDER.index(t) if t in _ORDER else len(_ORDER))


def _chart(title: str, axis: str, curves: Sequence[Curve], kind: str | None = None) -> Chart:
    kind = kind or title
    return Chart(title, axis, curves, _LOWEST.get(kind), _HIGHEST.get(kind))


def _mean(group: Group, name: str, axis: str) -> Curve:
    """At each x the mean over the runs that have a value there, and the lowest and highest."""
    measured = [(run, means) for run in group.runs if (means := means_of(run.columns, name))]
    at: dict[float, list[float]] = {}
    for run, means in measured:
        for x, y in _points(run, means, axis):
            at.setdefault(x, []).append(y)
    points = [(x, fmean(at[x])) for x in sorted(at)]
    if not any(_by_epoch(run, name) for run, _ in measured):
        points = thin(points)
    if len(measured) == 1:
        return Curve(group.label, group.color, points)
    low, high = [min(at[x]) for x, _ in points], [max(at[x]) for x, _ in points]
    label = f"{group.label} (mean of {len(measured)})"
    return Curve(label, group.color, points, low=low, high=high)


def _by_epoch(run: PageRun, name: str) -> bool:
    """Whether it has a value an epoch, which are all shown, and not one a step."""
    return f"{name}_epoch" in run.columns or name.startswith("val_")


def _points(run: PageRun, series: Series, axis: str) -> Points:
    """x counts what is done when the value is measured: 1 is the end of the first epoch."""
    per = float(run.per_epoch or 1) if axis == "epoch" else 1.0
    return [(round((step + 1) / per, 4), value) for step, value in series.items()]


def as_json(made: Iterable[Chart]) -> dict[str, Any]:
    """For the page's script; equal lists of x are stored once. What is not finite is null."""
    xs: dict[tuple[float, ...], int] = {}

    def at(points: Points) -> int:
        return xs.setdefault(tuple(x for x, _ in points), len(xs))

    def curve(c: Curve) -> dict[str, Any]:
        told: dict[str, Any] = {
            "label": c.label,
            "color": c.color,
            "x": at(c.points),
            "y": _short(y for _, y in c.points),
        }
        if c.steps:
            told["steps"] = {"x": at(c.steps), "y": _short(y for _, y in c.steps)}
        if c.low:
            told |= {"low": _short(c.low), "high": _short(c.high)}
        return told

    listed = [
        {
            "title": chart.title,
            "axis": chart.axis,
            "lowest": chart.lowest,
            "highest": chart.highest,
            "curves": [curve(c) for c in chart.curves],
        }
        for chart in made
    ]
    return {"x": [list(x) for x in xs], "charts": listed}


def _short(values: Iterable[float]) -> list[float | None]:
    return [float(f"{y:.5g}") if math.isfinite(y) else None for y in values]

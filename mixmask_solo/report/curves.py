# SPDX-License-Identifier: MIT
"""Training curves from the ``metrics.csv`` of one run, or of several over each other."""

import re
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import NamedTuple

from matplotlib import style
from matplotlib.axes import Axes
from matplotlib.figure import Figure

from mixmask_solo.report.grid import DPI, STYLE, save
from mixmask_solo.report.metrics import Series, read_metrics
from mixmask_solo.report.palette import COLORS, FAINT
from mixmask_solo.report.panels import (
    COMPARED,
    LAM,
    PANELS,
    RANK,
    SPREAD,
    label_of,
    means_of,
    panel,
)

_PANEL = (8.0, 4.0)  # inches; two of them make 1600 pixels
_TITLE = 0.6
_CHARACTERS = 100  # of a legend, in the width of a panel
_DATE = re.compile(r"-\d{8}-\d{6}-[0-9a-f]+$")  # of a run's folder
_STYLE = Path(__file__).with_name("curves.mplstyle")
_NOTE = "bold: mean over an epoch; faint: single steps"


class _Curve(NamedTuple):
    label: str
    means: Series
    steps: Series


def curves(runs: Mapping[str, Path], path: Path) -> Path:
    """Draws loss terms, λ, the embedding's spread, accuracies, rate and gradient of a run against
    the step; of several runs total loss, spread and accuracies over each other.

    Means over an epoch are bold, values of single steps faint behind them. A panel without values
    is left out, as is a series that repeats another (the only mixture's loss and the sum of all
    mixtures'); what never changes (a λ of 0.5) stands in the title.

    Args:
        runs: their ``metrics.csv`` by what they are called.
        path: the picture's; its ending says the format.

    Raises:
        ValueError: where there is nothing to draw.
    """
    read = {name: read_metrics(file) for name, file in runs.items()}
    title, constant = " and ".join(runs), ""
    if len(read) == 1:
        panels, constant = _of_one(*read.values())
    else:
        common, labels = _distinct(list(read))
        panels, title = _of_several(labels, list(read.values())), f"{len(read)} runs of {common}"
    if not panels:
        raise ValueError(
            f"nothing to draw in {', '.join(map(str, runs.values()))}: give folders of training "
            "runs, or their metrics.csv"
        )
    wide = min(2, len(panels))
    high = -(-len(panels) // wide)
    with style.context([STYLE, _STYLE]):
        figure = Figure(figsize=(_PANEL[0] * wide, _PANEL[1] * high + _TITLE), dpi=DPI)
        figure.set_layout_engine("constrained", w_pad=0.15, h_pad=0.15)
        figure.suptitle(title, x=0.01, ha="left", fontsize=15, weight="bold")
        for index, (head, found) in enumerate(panels.items()):
            axes = figure.add_subplot(high, wide, index + 1)
            _draw(axes, head, found)
            if len(read) == 1:
                _name_curves(axes, len(found))
        if len(read) == 1:
            note = " · ".join(part for part in (constant, _NOTE) if part)
            figure.text(0.99, 0.995, note, ha="right", va="top", color=FAINT, fontsize=11)
        else:
            longest = max(len(curve.label) for curve in next(iter(panels.values())))
            across = max(1, _CHARACTERS * wide // (longest + 8))
            figure.legend(*axes.get_legend_handles_labels(), loc="outside lower left", ncols=across)
        save(figure, path)
    return path


def _of_one(columns: dict[str, Series]) -> tuple[dict[str, list[_Curve]], str]:
    """Panels by title, and in words what is the same all along."""
    panels, constant = {}, []
    for title, pattern in PANELS.items():
        found = []
        for name, means in panel(columns, pattern).items():
            label = label_of(name)
            values = set(means.values()) | set(columns.get(f"{name}_step", {}).values())
            if title == LAM and len(values) == 1:
                constant.append(f"λ of {label} {values.pop():.3g}")
                continue
            found.append(_Curve(label, means, columns.get(f"{name}_step", {})))
        if found:
            panels[title] = found
    return panels, ", ".join(constant)


def _of_several(
    labels: Sequence[str], runs: Sequence[Mapping[str, Series]]
) -> dict[str, list[_Curve]]:
    panels = {}
    for title, names in COMPARED.items():
        found = []
        for label, columns in zip(labels, runs, strict=True):
            name = next((n for n in names if means_of(columns, n)), None)
            if name is not None:
                found.append(_Curve(label, means_of(columns, name), {}))
        if found:
            panels[title] = found
    return panels


def _distinct(names: Sequence[str]) -> tuple[str, list[str]]:
    """What all names share, and for each the rest, without the date if that tells them apart.

    A run's folder is called by name, then by keys and values: ``simclr-grid_size-4-seed-1-...``.
    """
    words = [_DATE.sub("", name).split("-") for name in names]
    common = [word for word in words[0] if all(word in other for other in words)]
    short = []
    for own in words:
        pairs = zip(["", *own], own, strict=False)
        rest = [f"{before} {word}".strip() for before, word in pairs if word not in common]
        short.append(", ".join(rest) or "-".join(own))
    return "-".join(common), short if len(set(short)) == len(short) else list(names)


def _draw(axes: Axes, title: str, found: Sequence[_Curve]) -> None:
    colors = COLORS * len(found)
    for color, (label, means, steps) in zip(colors, found, strict=False):
        axes.plot(list(steps), list(steps.values()), color=color, alpha=0.25, linewidth=1)
        marker = "o" if len(means) < 3 else None
        points = list(means), list(means.values())
        axes.plot(*points, color=color, linewidth=2.2, marker=marker, label=label)
    axes.set_title(title, pad=28)
    axes.set_xlabel("step")
    if title in (LAM, SPREAD, RANK):
        axes.set_ylim(0, 1 if title == LAM else axes.get_ylim()[1] * 1.1)


def _name_curves(axes: Axes, count: int) -> None:
    """Between title and axes, where no curve can run through it."""
    axes.legend(
        ncols=min(count, 5),
        loc="lower left",
        bbox_to_anchor=(0, 1),
        borderaxespad=0.2,
        borderpad=0.1,
        columnspacing=1.4,
    )

# SPDX-License-Identifier: MIT
"""Training curves from a run's ``metrics.csv``."""

import csv
import re
from pathlib import Path

from matplotlib import style
from matplotlib.axes import Axes
from matplotlib.figure import Figure

from mixmask_solo.report.grid import COLORS, DPI, STYLE

Series = dict[int, float]  # step -> value
_PANEL = (8.0, 4.0)  # inches; two of them make 1600 pixels
_LAM, _SPREAD = "own share λ", "spread of the embedding (0 = collapse)"
_PANELS = {  # title: names of the metrics
    "loss terms": r"train(_.*)?_(loss|neg_cos_sim)",
    _LAM: r"train(_.*)?_lam",
    _SPREAD: r"train_(embedding|z)_std",
    "accuracy in %": r"(val_knn|val|train)_acc1",
}
_LABELS = {
    "val_knn_acc1": "k-NN, held out",
    "val_acc1": "online classifier, held out",
    "train_acc1": "online classifier, training",
    "train_embedding_std": "std of z over a batch, view 1",
    "train_z_std": "std of z over a batch, all views",
    "train_neg_cos_sim": "method",
    "train_nce_loss": "method",
    "train_class_loss": "classifier (online)",
    "train_mixture_loss": "all mixtures",
}
# The method's own loss before the others and its classifier last, k-NN before the classifier.
_FIRST = ("train_nce_loss", "train_neg_cos_sim", "val_knn_acc1")
_LAST = ("train_class_loss", "train_acc1")
_STYLE = Path(__file__).with_name("curves.mplstyle")


def curves(metrics: Path, path: Path) -> Path:
    """Draws loss terms, λ, the embedding's spread and accuracies against the step.

    Means over an epoch are bold, values of single steps faint behind them. A panel without values
    is left out, as is a series that repeats another (the only mixture's loss and the sum of all
    mixtures'). Raises ValueError where there is nothing to draw.
    """
    columns = read_metrics(metrics)
    panels = [(title, _panel(columns, pattern)) for title, pattern in _PANELS.items()]
    panels = [(title, series) for title, series in panels if series]
    if not panels:
        raise ValueError(f"nothing to draw in {metrics}: give the metrics.csv of a training run")
    wide = min(2, len(panels))
    high = -(-len(panels) // wide)
    with style.context([STYLE, _STYLE]):
        figure = Figure(figsize=(_PANEL[0] * wide, _PANEL[1] * high), dpi=DPI)
        figure.set_layout_engine("constrained", w_pad=0.15, h_pad=0.15)
        for index, (title, series) in enumerate(panels):
            axes = figure.add_subplot(high, wide, index + 1)
            _draw(axes, title, series, columns)
        figure.savefig(path)
    return path


def read_metrics(file: Path) -> dict[str, Series]:
    """Every column as step -> value; empty cells are skipped, the last one of a step counts."""
    columns: dict[str, Series] = {}
    with file.open(newline="") as stream:
        for row in csv.DictReader(stream):
            step = int(float(row["step"]))
            for name, cell in row.items():
                if name not in ("step", "epoch") and cell:
                    columns.setdefault(name, {})[step] = float(cell)
    return {name: dict(sorted(series.items())) for name, series in columns.items()}


def _panel(columns: dict[str, Series], pattern: str) -> dict[str, Series]:
    """Series of a panel by metric, means over epochs where there are any, duplicates dropped."""
    found: dict[str, Series] = {}
    for column, series in columns.items():
        name = column.removesuffix("_epoch").removesuffix("_step")
        repeats = column.endswith("_step") and f"{name}_epoch" in columns
        if re.fullmatch(pattern, name) and not repeats and series not in found.values():
            found[name] = series
    order = sorted(found, key=lambda name: (name not in _FIRST, name in _LAST, name))
    return {name: found[name] for name in order}


def _draw(axes: Axes, title: str, series: dict[str, Series], columns: dict[str, Series]) -> None:
    for color, (name, values) in zip(COLORS * len(series), series.items(), strict=False):
        steps = columns.get(f"{name}_step", {})
        axes.plot(list(steps), list(steps.values()), color=color, alpha=0.25, linewidth=1)
        short = name.removeprefix("train_").removesuffix("_loss").removesuffix("_lam")
        label, marker = _LABELS.get(name, short), "o" if len(values) < 3 else None
        means = list(values), list(values.values())
        axes.plot(*means, color=color, linewidth=2.2, marker=marker, label=label)
    axes.set_title(title, pad=28)
    axes.set_xlabel("step")
    if title in (_LAM, _SPREAD):
        axes.set_ylim(0, 1 if title == _LAM else axes.get_ylim()[1] * 1.1)
    # Between title and axes, where no curve can run through it.
    axes.legend(
        ncols=len(series),
        loc="lower left",
        bbox_to_anchor=(0, 1),
        borderaxespad=0.2,
        borderpad=0.1,
        columnspacing=1.4,
    )

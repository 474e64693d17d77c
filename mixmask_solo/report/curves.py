# SPDX-License-Identifier: MIT
"""Training curves from the CSV files Lightning's logger writes."""

from __future__ import annotations

import csv
from collections.abc import Sequence
from pathlib import Path

import matplotlib
from matplotlib.axes import Axes
from matplotlib.figure import Figure

from mixmask_solo.report.style import COLORS, DPI, FAINT, RC

__all__ = ["curves", "read_metrics"]

Series = dict[int, float]  # step -> value
_PANEL = (8.0, 4.0)  # inches; two of them make 1600 pixels


def curves(metrics: Path | str | Sequence[Path | str], path: Path | str) -> Path:
    """Draws loss terms, λ, the embedding's spread and accuracies against the step.

    Means over an epoch are drawn bold, values of single steps faint behind them. A panel without
    any values is left out, as is a series that repeats another (the only mixture's loss and the
    sum of all mixtures').

    Args:
        metrics: one ``metrics.csv``, or several of one run that was resumed; a step found twice
            is taken from the later file.
        path: picture to write.

    Returns:
        ``path``.

    Raises:
        ValueError: where no file is given or none holds anything to draw.
    """
    files = [metrics] if isinstance(metrics, (str, Path)) else list(metrics)
    columns = read_metrics(files)
    panels = [(title, _panel(columns, title)) for title in _PANELS]
    panels = [(title, series) for title, series in panels if series]
    if not panels:
        names = ", ".join(map(str, files)) or "no files"
        raise ValueError(f"nothing to draw in {names}: give the metrics.csv of a training run")
    wide = min(2, len(panels))
    high = -(-len(panels) // wide)
    with matplotlib.rc_context(RC):
        figure = Figure(figsize=(_PANEL[0] * wide, _PANEL[1] * high), dpi=DPI)
        figure.set_layout_engine("constrained", w_pad=0.15, h_pad=0.15)
        for index, (title, series) in enumerate(panels):
            axes = figure.add_subplot(high, wide, index + 1)
            _draw(axes, title, series, columns)
        figure.savefig(Path(path))
    return Path(path)


def read_metrics(files: Sequence[Path | str]) -> dict[str, Series]:
    """Every column of the files as step -> value; empty cells are skipped."""
    columns: dict[str, Series] = {}
    for file in files:
        with open(file, newline="") as stream:
            for row in csv.DictReader(stream):
                step = int(float(row["step"]))
                for name, cell in row.items():
                    if name not in ("step", "epoch") and cell:
                        columns.setdefault(name, {})[step] = float(cell)
    return {name: dict(sorted(series.items())) for name, series in columns.items()}


def _is_loss(name: str) -> bool:
    return name.startswith("train_") and name.endswith(("_loss", "_neg_cos_sim"))


def _is_lam(name: str) -> bool:
    return name.startswith("train_") and name.endswith("_lam")


def _is_spread(name: str) -> bool:
    return name in ("train_embedding_std", "train_z_std")


def _is_accuracy(name: str) -> bool:
    return name in ("val_knn_acc1", "val_acc1", "train_acc1")


_LAM, _SPREAD = "own share λ", "spread of the embedding (0 = collapse)"
_PANELS = {
    "loss terms": _is_loss,
    _LAM: _is_lam,
    _SPREAD: _is_spread,
    "accuracy in %": _is_accuracy,
}
_FROM_ZERO = (_LAM, _SPREAD)
_NAMES = {
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


def _panel(columns: dict[str, Series], title: str) -> dict[str, Series]:
    """Series of a panel by metric, means over epochs where there are any, duplicates dropped."""
    found: dict[str, Series] = {}
    for column, series in columns.items():
        name = column.removesuffix("_epoch").removesuffix("_step")
        if not _PANELS[title](name) or (column.endswith("_step") and f"{name}_epoch" in columns):
            continue
        if series not in found.values():
            found[name] = series
    return dict(sorted(found.items(), key=lambda item: _order(item[0])))


def _order(name: str) -> tuple[int, str]:
    """The method's own loss first and its classifier last, k-NN before the classifier."""
    first = ("train_nce_loss", "train_neg_cos_sim", "val_knn_acc1")
    last = ("train_class_loss", "train_acc1")
    return (0 if name in first else 2 if name in last else 1), name


def _draw(axes: Axes, title: str, series: dict[str, Series], columns: dict[str, Series]) -> None:
    for color, (name, values) in zip(COLORS * len(series), series.items(), strict=False):
        steps = columns.get(f"{name}_step", {})
        axes.plot(list(steps), list(steps.values()), color=color, alpha=0.25, linewidth=1)
        marker = "o" if len(values) < 3 else None
        axes.plot(
            list(values),
            list(values.values()),
            color=color,
            linewidth=2.2,
            marker=marker,
            label=_label(name),
        )
    axes.set_title(title, loc="left", fontsize=14, weight="bold", pad=28)
    axes.set_xlabel("step", color=FAINT, fontsize=11)
    axes.spines[["top", "right"]].set_visible(False)
    axes.grid(axis="y", color="#e6eaef")
    axes.set_axisbelow(True)
    if title in _FROM_ZERO:
        axes.set_ylim(0, 1 if title == _LAM else axes.get_ylim()[1] * 1.1)
    axes.tick_params(labelsize=11)
    # Between title and axes, where no curve can run through it.
    axes.legend(
        frameon=False,
        fontsize=11,
        ncols=len(series),
        loc="lower left",
        bbox_to_anchor=(0, 1),
        borderaxespad=0.2,
        borderpad=0.1,
        columnspacing=1.4,
    )


def _label(name: str) -> str:
    return _NAMES.get(name, name.removeprefix("train_").removesuffix("_loss").removesuffix("_lam"))

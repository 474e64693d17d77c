# SPDX-License-Identifier: MIT
"""Training curves from the ``metrics.csv`` of one run, or of several over each other."""

import re
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import NamedTuple

from matplotlib import style
from matplotlib.axes import Axes
from matplotlib.figure import Figure

from mixmask_solo.report.grid import COLORS, DPI, FAINT, STYLE
from mixmask_solo.report.metrics import Series, read_metrics

_PANEL = (8.0, 4.0)  # inches; two of them make 1600 pixels
_TITLE = 0.6
_CHARACTERS = 100  # of a legend, in the width of a panel
_LAM, _SPREAD = "own share λ", "spread of the embedding (0 = collapse)"
_PANELS = {  # title: names of the metrics
    "loss terms": r"train(_.*)?_(loss|neg_cos_sim)",
    _LAM: r"train(_.*)?_lam",
    _SPREAD: r"train_(embedding|z)_std",
    "accuracy in %": r"(val_knn|val|train)_acc1",
    "learning rate": r"train_lr",
    "norm of the gradient": r"train_grad_norm",
}
_COMPARED = {  # of several runs one metric a panel
    "loss": ("train_loss", "train_nce_loss", "train_neg_cos_sim"),
    _SPREAD: ("train_embedding_std", "train_z_std"),
    "online k-NN in %": ("val_knn_acc1",),
    "linear classifier on validation images, in %": ("val_acc1",),
}
_LABELS = {
    "val_knn_acc1": "online k-NN, held out",
    "val_acc1": "online classifier, held out",
    "train_acc1": "online classifier, training",
    "train_embedding_std": "std of z over a batch, view 1",
    "train_z_std": "std of z over a batch, all views",
    "train_loss": "sum",
    "train_neg_cos_sim": "method",
    "train_nce_loss": "method",
    "train_class_loss": "classifier (online)",
    "train_mixture_loss": "all mixtures",
    "train_lr": "backbone",
    "train_grad_norm": "all parameters",
}
# The method's own loss before the others and its classifier last, k-NN before the classifier.
_FIRST = ("train_nce_loss", "train_neg_cos_sim", "val_knn_acc1")
_LAST = ("train_class_loss", "train_acc1")
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
        figure.savefig(path)
    return path


def _of_one(columns: dict[str, Series]) -> tuple[dict[str, list[_Curve]], str]:
    """Panels by title, and in words what is the same all along."""
    panels, constant = {}, []
    for title, pattern in _PANELS.items():
        found = []
        for name, means in _panel(columns, pattern).items():
            label = _label(name)
            values = set(means.values()) | set(columns.get(f"{name}_step", {}).values())
            if title == _LAM and len(values) == 1:
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
    for title, names in _COMPARED.items():
        found = []
        for label, columns in zip(labels, runs, strict=True):
            name = next((n for n in names if _means(columns, n)), None)
            if name is not None:
                found.append(_Curve(label, _means(columns, name), {}))
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


def _means(columns: Mapping[str, Series], name: str) -> Series:
    """Over epochs where there are any, else the values as they are."""
    for column in (f"{name}_epoch", name, f"{name}_step"):
        if column in columns:
            return columns[column]
    return {}


def _panel(columns: dict[str, Series], pattern: str) -> dict[str, Series]:
    """Series of a panel by metric, means over epochs where there are any, duplicates dropped."""
    found: dict[str, Series] = {}
    for column in columns:
        name = column.removesuffix("_epoch").removesuffix("_step")
        means = _means(columns, name)
        if re.fullmatch(pattern, name) and means not in found.values():
            found.setdefault(name, means)
    order = sorted(found, key=lambda name: (name not in _FIRST, name in _LAST, name))
    return {name: found[name] for name in order}


def _label(name: str) -> str:
    short = name.removeprefix("train_").removesuffix("_loss").removesuffix("_lam")
    return _LABELS.get(name, short)


def _draw(axes: Axes, title: str, found: Sequence[_Curve]) -> None:
    colors = COLORS * len(found)
    for color, (label, means, steps) in zip(colors, found, strict=False):
        axes.plot(list(steps), list(steps.values()), color=color, alpha=0.25, linewidth=1)
        marker = "o" if len(means) < 3 else None
        points = list(means), list(means.values())
        axes.plot(*points, color=color, linewidth=2.2, marker=marker, label=label)
    axes.set_title(title, pad=28)
    axes.set_xlabel("step")
    if title in (_LAM, _SPREAD):
        axes.set_ylim(0, 1 if title == _LAM else axes.get_ylim()[1] * 1.1)


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

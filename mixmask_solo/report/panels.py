# SPDX-License-Identifier: MIT
"""Which of a run's metrics belong together, in which order, and what they are called."""

import re
from collections.abc import Mapping

from mixmask_solo.report.metrics import Series

LAM, SPREAD = "own share λ", "spread of the embedding (0 = collapse)"
RANK = "effective rank of the embedding (1 = collapse)"
AP = "average precision in %"
PANELS = {  # title: names of the metrics
    "loss terms": r"train(_.*)?_(loss|neg_cos_sim)",
    LAM: r"train(_.*)?_lam",
    SPREAD: r"train_(embedding|z)_std",
    RANK: r"train_embedding_rank",
    "uniformity and alignment": r"train_embedding_(uniformity|alignment)",
    "accuracy in %": r"(val_knn|val|train)_acc1",
    AP: r"val_(box|mask|voc)_ap(50|75)?",
    "learning rate": r"train_lr",
    "norm of the gradient": r"train_grad_norm",
}
COMPARED = {  # of several runs one metric a panel
    "loss": ("train_loss", "train_nce_loss", "train_neg_cos_sim"),
    SPREAD: ("train_embedding_std", "train_z_std"),
    RANK: ("train_embedding_rank",),
    "online k-NN in %": ("val_knn_acc1",),
    "linear classifier on validation images, in %": ("val_acc1",),
    "average precision of boxes, in %": ("val_box_ap",),
}
_LABELS = {
    "val_knn_acc1": "online k-NN, held out",
    "val_acc1": "classifier, held out",
    "train_acc1": "classifier, training",
    "train_embedding_std": "std of z over a batch, view 1",
    "train_z_std": "std of z over a batch, all views",
    "train_embedding_rank": "RankMe of z, view 1",
    "train_embedding_uniformity": "uniformity of z, view 1",
    "train_embedding_alignment": "alignment of z, both views",
    "train_loss": "sum",
    "train_neg_cos_sim": "method",
    "train_nce_loss": "method",
    "train_class_loss": "classifier",
    "train_mixture_loss": "all mixtures",
    "train_lr": "backbone",
    "train_grad_norm": "all parameters",
    **{
        f"val_{kind}_ap{iou}": f"{name} AP{iou}"
        for kind, name in {"box": "box", "mask": "mask", "voc": "VOC"}.items()
        for iou in ("", "50", "75")
    },
}
# The method's own loss before the others and its classifier last, k-NN before the classifier.
_FIRST = ("train_nce_loss", "train_neg_cos_sim", "val_knn_acc1")
_LAST = ("train_class_loss", "train_acc1")


def means_of(columns: Mapping[str, Series], name: str) -> Series:
    """Over epochs where there are any, else the values as they are."""
    for column in (f"{name}_epoch", name, f"{name}_step"):
        if column in columns:
            return columns[column]
    return {}


def panel(columns: dict[str, Series], pattern: str) -> dict[str, Series]:
    """Series of a panel by metric, means over epochs where there are any.

    Of terms that are equal throughout one is shown: a sum of one term is that term.
    """
    found: dict[str, Series] = {}
    for column in columns:
        name = column.removesuffix("_epoch").removesuffix("_step")
        means = means_of(columns, name)
        sum_of_one = name.startswith("train_") and means in found.values()
        if re.fullmatch(pattern, name) and not sum_of_one:
            found.setdefault(name, means)
    order = sorted(found, key=lambda name: (name not in _FIRST, name in _LAST, name))
    return {name: found[name] for name in order}


def label_of(name: str) -> str:
    short = name.removeprefix("train_").removesuffix("_loss").removesuffix("_lam")
    return _LABELS.get(name, short)

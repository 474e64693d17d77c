# SPDX-License-Identifier: MIT
"""What several published recipes share: views, statistics, optimisers, networks, words."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

from support.published import View

__all__ = [
    *("C10", "C100_HT", "C100_SL", "TINY", "STRONG", "WEAK"),
    *("MOMENTUM", "PAPERS_LARS", "SOLOS_LARS", "POOLED", "SMALL", "mlp"),
    *("SIMSIAM_HEAD", "SIMSIAM_PREDICTOR", "NEAREST", "SOLO_KNN"),
    *("UNEQUAL", "htdt_views", "moco_views", "solo_views"),
]

WEAK, MILD, STRONG = (0.4, 0.4, 0.4, 0.1), (0.4, 0.4, 0.2, 0.1), (0.8, 0.8, 0.8, 0.2)
C10 = {"mean": (0.4914, 0.4822, 0.4465), "std": (0.2023, 0.1994, 0.2010)}
C100_HT = {"mean": (0.5071, 0.4867, 0.4408), "std": (0.2675, 0.2565, 0.2761)}
C100_SL = {"mean": (0.5071, 0.4865, 0.4409), "std": (0.2673, 0.2564, 0.2762)}
TINY = {"mean": (0.480, 0.448, 0.398), "std": (0.277, 0.269, 0.282)}

SMALL = ("resnet18", "cifar", 1, False)
POOLED = ("resnet18", "cifar_pool", 1, False)
MOMENTUM = {"momentum": 0.9}
LARS = {"momentum": 0.9, "exclude_bias_n_norm": True}
PAPERS_LARS = {**LARS, "eta": 0.001, "clip_lr": False}
SOLOS_LARS = {**LARS, "eta": 0.02, "clip_lr": True}


def mlp(*sizes: int) -> str:
    """Linear, BN, ReLU, Linear."""
    a, b, c = sizes
    return f"Linear({a},{b}) BN ReLU Linear({b},{c})"


def moco_views(size: int, scale: float, blur: float, **statistics: Any) -> tuple[View, View]:
    view = View(scale, "bilinear", WEAK, 0.2, blur, size, **statistics)
    return view, view


def solo_views(size: int, jitter: tuple[float, ...], **statistics: Any) -> tuple[View, View]:
    view = View(0.08, "bicubic", jitter, 0.2, 0.5, size, **statistics)
    return view, view


def htdt_views(size: int, **statistics: Any) -> tuple[View, View]:
    view = View(0.2, "bicubic", WEAK, 0.1, 0.0, size, order="colour_first", **statistics)
    return view, view


first_view = View(0.08, "bicubic", MILD, 0.2, 1.0, 224)
UNEQUAL = (first_view, replace(first_view, blur=0.1, solarise=0.2))

SIMSIAM_HEAD = (
    "Linear(2048,2048)- BN ReLU Linear(2048,2048)- BN ReLU Linear(2048,2048) BN(no affine)"
)
SIMSIAM_PREDICTOR = "Linear(2048,512)- BN ReLU Linear(512,2048) fixed rate"
NEAREST = (
    "the k-NN after each epoch is solo-learn's: among both augmented views as seen in training"
    " mode while the weights change, "
)
SOLO_KNN = ("backbone", "cosine", 20, 0.07)

# SPDX-License-Identifier: MIT
"""The built-in host: solo-learn 1.0.6's class contract on torch, timm and Lightning alone."""

from mixmask_solo.host.builtin.backbones import build_backbone, features_dim
from mixmask_solo.host.builtin.base import BaseMethod
from mixmask_solo.host.builtin.byol import BYOL
from mixmask_solo.host.builtin.linear import LinearModel
from mixmask_solo.host.builtin.mocov2plus import MoCoV2Plus
from mixmask_solo.host.builtin.momentum import BaseMomentumMethod
from mixmask_solo.host.builtin.online_knn import WeightedKNN
from mixmask_solo.host.builtin.simclr import SimCLR
from mixmask_solo.host.builtin.simsiam import SimSiam

__all__ = [
    "METHODS",
    "BaseMethod",
    "BaseMomentumMethod",
    "LinearModel",
    "WeightedKNN",
    "build_backbone",
    "features_dim",
]

METHODS: dict[str, type[BaseMethod]] = {
    "byol": BYOL,
    "mocov2plus": MoCoV2Plus,
    "simclr": SimCLR,
    "simsiam": SimSiam,
}

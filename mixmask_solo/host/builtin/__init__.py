# SPDX-License-Identifier: MIT
"""The built-in host: solo-learn 1.0.6's class contract on torch, timm and Lightning alone."""

from mixmask_solo.host.builtin.backbones import build_backbone, features_dim
from mixmask_solo.host.builtin.base import BaseMethod
from mixmask_solo.host.builtin.linear import LinearModel
from mixmask_solo.host.builtin.methods import METHODS
from mixmask_solo.host.builtin.momentum import BaseMomentumMethod
from mixmask_solo.host.builtin.online_knn import WeightedKNN

__all__ = [
    "METHODS",
    "BaseMethod",
    "BaseMomentumMethod",
    "LinearModel",
    "WeightedKNN",
    "build_backbone",
    "features_dim",
]

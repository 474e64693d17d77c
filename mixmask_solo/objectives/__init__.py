# SPDX-License-Identifier: MIT
"""Pair losses per sample, ``(N,)``, and their λ-weighted sum; pure functions of tensors."""

from __future__ import annotations

from mixmask_solo.objectives.cosine import byol, simsiam
from mixmask_solo.objectives.distributed import gather, gather_keys
from mixmask_solo.objectives.distribution import cross_entropy, log_probabilities, sharpened
from mixmask_solo.objectives.in_batch import soft_in_batch_nce
from mixmask_solo.objectives.info_nce import info_nce, info_nce_from_lse, queue_lse
from mixmask_solo.objectives.nt_xent import nt_xent, simclr, soft_nt_xent
from mixmask_solo.objectives.precision import full_precision, upcast
from mixmask_solo.objectives.relation import relation_from_lse, relation_target
from mixmask_solo.objectives.soft import soft
from mixmask_solo.objectives.statistics import barlow_twins, covariance, invariance, variance

__all__ = [
    "barlow_twins",
    "byol",
    "covariance",
    "cross_entropy",
    "full_precision",
    "gather",
    "gather_keys",
    "info_nce",
    "info_nce_from_lse",
    "invariance",
    "log_probabilities",
    "nt_xent",
    "queue_lse",
    "relation_from_lse",
    "relation_target",
    "sharpened",
    "simclr",
    "simsiam",
    "soft",
    "soft_in_batch_nce",
    "soft_nt_xent",
    "upcast",
    "variance",
]

# SPDX-License-Identifier: MIT
"""Pair losses per sample, ``(N,)``, and their λ-weighted sum; pure functions of tensors."""

from __future__ import annotations

from mixmask_solo.objectives.cosine import byol, simsiam
from mixmask_solo.objectives.distributed import gather, gather_keys
from mixmask_solo.objectives.info_nce import info_nce, info_nce_from_lse, queue_lse
from mixmask_solo.objectives.nt_xent import nt_xent, simclr, soft_nt_xent
from mixmask_solo.objectives.precision import full_precision, upcast
from mixmask_solo.objectives.soft import soft

__all__ = [
    "byol",
    "full_precision",
    "gather",
    "gather_keys",
    "info_nce",
    "info_nce_from_lse",
    "nt_xent",
    "queue_lse",
    "simclr",
    "simsiam",
    "soft",
    "soft_nt_xent",
    "upcast",
]

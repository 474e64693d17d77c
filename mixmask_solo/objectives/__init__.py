# SPDX-License-Identifier: MIT
"""Pair losses per sample, ``(N,)``, and their sum weighed by sources; pure functions of tensors."""

from mixmask_solo.objectives.distributed import gather, gather_keys
from mixmask_solo.objectives.in_batch import simclr, soft_in_batch_nce, soft_nt_xent
from mixmask_solo.objectives.info_nce import (
    info_nce,
    info_nce_from_lse,
    queue_lse,
    shared_queue_lse,
    with_hard_negative,
)
from mixmask_solo.objectives.non_contrastive import byol, simsiam
from mixmask_solo.objectives.slots import area_penalty, slot_entropy
from mixmask_solo.objectives.weigh import Share, full_precision, upcast, weigh

__all__ = [
    "Share",
    "area_penalty",
    "byol",
    "full_precision",
    "gather",
    "gather_keys",
    "info_nce",
    "info_nce_from_lse",
    "queue_lse",
    "shared_queue_lse",
    "simclr",
    "simsiam",
    "slot_entropy",
    "soft_in_batch_nce",
    "soft_nt_xent",
    "upcast",
    "weigh",
    "with_hard_negative",
]

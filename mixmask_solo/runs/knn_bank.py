# SPDX-License-Identifier: MIT
"""How much memory the online k-NN would take, told before it takes it."""

from __future__ import annotations

import logging
from typing import Any

import torch
from omegaconf import DictConfig

from mixmask_solo.data import ImageData

__all__ = ["BOUND", "judge_bank"]

log = logging.getLogger(__name__)
BOUND = 2 << 30
"""Bytes of features in each process up to which ``knn_eval.enabled: auto`` means true."""


def judge_bank(model: Any, cfg: DictConfig, data: ImageData, processes: int) -> None:
    """Decides what ``knn_eval.enabled: auto`` means, and says what a bank above ``BOUND`` takes.

    A bank holds the features of an epoch: of every large crop of every labelled image, which the
    processes share. ``auto`` is replaced in ``cfg``; ``model``, built with the k-NN, loses it where
    it is off.
    """
    block, asked = cfg.knn_eval, cfg.knn_eval.enabled
    if not asked:
        return
    validates = data.val_source is not None and cfg.get("limit_val_batches") != 0
    on = asked is True or validates
    need, counted = _need(model, cfg, data, processes)
    if validates and need > BOUND:
        what = f"its bank of features takes {need / 2**30:.1f} GiB in each process ({counted})"
        smaller = "knn_eval.bank_dtype=float16 halves that, knn_eval.bank_device=cpu spares the GPU"
        if asked is True:
            log.warning("online k-NN: %s; %s", what, smaller)
        else:
            on = False
            least = f"more than {BOUND >> 30} GiB; knn_eval.enabled=true takes them"
            log.warning("the online k-NN is off: %s, %s; %s", what, least, smaller)
    block.enabled = model.knn_eval = on
    if not on:
        del model.knn


def _need(model: Any, cfg: DictConfig, data: ImageData, processes: int) -> tuple[int, str]:
    """Bytes, and in words what they are counted from."""
    on_z = cfg.knn_eval.get("features") == "projector"
    width = int(cfg.method_kwargs.proj_output_dim if on_z else model.features_dim)
    images = -(-int((data.opened.labels >= 0).sum()) // processes)
    crops, kind = int(cfg.data.num_large_crops), cfg.knn_eval.get("bank_dtype") or "float32"
    size = torch.finfo(getattr(torch, kind)).bits // 8
    return images * crops * width * size, f"{images:,} images x {crops} crops x {width} {kind}"

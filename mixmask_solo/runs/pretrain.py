# SPDX-License-Identifier: MIT
"""A pretraining run from configuration to ``result.json``."""

import logging
import re
from collections.abc import Callable
from pathlib import Path
from typing import Any

import torch
from lightning.pytorch import LightningModule, Trainer, seed_everything
from omegaconf import DictConfig, OmegaConf

from mixmask_solo.config import ConfigError, resolve_pretrain, to_values
from mixmask_solo.data import ImageData, build_pretrain
from mixmask_solo.host import load
from mixmask_solo.methods import get_method
from mixmask_solo.methods.refused import check_method, check_options
from mixmask_solo.runs.embedding import EmbeddingHealth
from mixmask_solo.runs.final_knn import final_knn
from mixmask_solo.runs.gauges import StepGauges
from mixmask_solo.runs.init_from import beginning, initialise
from mixmask_solo.runs.run import Run
from mixmask_solo.runs.train import Ended, train
from mixmask_solo.runs.trainer import trainer_keys
from mixmask_solo.strategies import blocks, extra_crops, fill_blocks

log = logging.getLogger(__name__)
_HOSTS = {"builtin": "built-in", "solo": "solo-learn's"}
_BANK_BOUND = 2 << 30  # bytes of features a process up to which `knn_eval.enabled: auto` means true
_DERIVED = (
    "num_large_crops",
    "num_small_crops",
    "num_extra_crops",
)  # keys of `data` that resolving adds


def resolve(cfg: DictConfig, *, here: bool = True) -> DictConfig:
    """Checks everything that can be checked without data and fills in defaults.

    Without ``here`` it is for another machine, of whose devices nothing is known.

    Raises ConfigError naming the key, its value, what is allowed.
    """
    check_method(cfg.get("method"))
    visible = torch.cuda.device_count() if here else None
    resolved = resolve_pretrain(cfg, blocks=blocks(), trainer_keys=trainer_keys(), visible=visible)
    resolved.method_kwargs = fill_blocks(resolved)
    check_options(resolved.method, resolved.method_kwargs)
    if taken := sum(extra_crops(resolved.method_kwargs).values()):
        resolved.data.num_extra_crops = taken
    _from_host(get_method, resolved.method, resolved.host)
    return resolved


def pretrain(cfg: DictConfig, report: Ended | None = None) -> dict[str, Any]:
    """Runs a composed, unresolved configuration (solo-learn's schema and ours).

    ``report`` writes a report into the folder of a run that has ended, where ``cfg`` asks for one.

    Returns the content of its ``result.json`` plus ``directory``.

    Raises:
        ConfigError: for anything wrong with the configuration or the data.
        Interrupted: after a signal, with the checkpoint saved.
        NonFiniteLoss: naming step, terms and the last good checkpoint.
    """
    cfg = resolve(cfg)
    _question_name(cfg)
    images, host = build_pretrain(cfg), load(cfg.host).name
    watched = int(cfg.health.images) if cfg.health.enabled else 0

    def build(
        run: Run, trainer: Trainer, announce: Callable[[], None]
    ) -> tuple[LightningModule, ImageData]:
        seed_everything(int(cfg.seed), workers=True)
        method = _from_host(get_method, cfg.method, cfg.host)
        model = _from_host(method, cfg)
        _judge_bank(model, cfg, images, run.processes)
        if cfg.get("init_from") and run.checkpoint is None:
            initialise(model, cfg.init_from)
        announce()
        return model, images

    def measure(result: dict[str, Any], asked: Callable[[], bool]) -> dict[str, Any]:
        return final_knn(cfg, result, str(images.device), asked)

    return train(
        cfg,
        images,
        Path(cfg.checkpoint.dir) / str(cfg.method),
        build,
        subject=f"{cfg.method}, {cfg.backbone.name}, {_HOSTS[host]} host",
        host=host,
        completed=completed,
        extra=beginning(cfg.get("init_from")),
        callbacks=[EmbeddingHealth(images=watched), StepGauges()],
        measure=measure,
        ended=report if cfg.report else None,
    )


def completed(stored: dict[str, Any]) -> dict[str, Any]:
    """A stored configuration with the defaults that its version did not write down."""
    data = {k: v for k, v in (stored.get("data") or {}).items() if k not in _DERIVED}
    try:
        written = {**stored, "data": data, "resume_from_checkpoint": None}
        again = to_values(resolve(OmegaConf.create(written)))
    except ConfigError:  # of solo-learn alone, or of another machine: compared as it is
        return stored
    # resolving scales the learning rates, which in a stored configuration are scaled already
    optimizer = {**again["optimizer"], **stored["optimizer"]}
    return {**again, "optimizer": optimizer, "data": {**again["data"], **stored["data"]}}


def _question_name(cfg: DictConfig) -> None:
    """A run that is called after a strategy it has not would be taken for one that has it."""
    words = set(re.split(r"[^a-z0-9]+", str(cfg.name).lower()))
    for block in blocks():
        if block in words and cfg.method_kwargs.get(block) is None:
            told = "name is %r, but there is no block method_kwargs.%s: this is %s without it"
            log.warning(told, cfg.name, block, cfg.method)


def _from_host(make: Callable[..., Any], *args: Any) -> Any:
    try:
        return make(*args)
    except (ImportError, ValueError) as error:  # hosts know nothing of our errors
        raise ConfigError(str(error)) from error


def _judge_bank(model: Any, cfg: DictConfig, data: ImageData, processes: int) -> None:
    """Replaces ``knn_eval.enabled: auto`` by what it means, and tells what a large bank takes.

    ``model``, built with the k-NN, loses it where that is off.
    """
    asked = cfg.knn_eval.enabled
    if not asked:
        return
    validates = data.val_source is not None and cfg.get("limit_val_batches") != 0
    need, counted = _bank_bytes(model, cfg, data, processes)
    large = validates and need > _BANK_BOUND
    on = asked is True or (validates and not large)
    if large:
        what = f"its bank of features takes {need / 2**30:.1f} GiB in each process ({counted})"
        if not on:
            what += f", more than {_BANK_BOUND >> 30} GiB; knn_eval.enabled=true takes them"
        smaller = "knn_eval.bank_dtype=float16 halves that, knn_eval.bank_device=cpu spares the GPU"
        log.warning("%s: %s; %s", "online k-NN" if on else "the online k-NN is off", what, smaller)
    cfg.knn_eval.enabled = model.knn_eval = on
    if not on:
        del model.knn


def _bank_bytes(model: Any, cfg: DictConfig, data: ImageData, processes: int) -> tuple[int, str]:
    """Bytes for the large crops of a process's labelled images, and in words what those are."""
    on_z = cfg.knn_eval.get("features") == "projector"
    width = int(cfg.method_kwargs.proj_output_dim if on_z else model.features_dim)
    images = -(-int((data.opened.labels >= 0).sum()) // processes)
    crops, kind = int(cfg.data.num_large_crops), cfg.knn_eval.get("bank_dtype") or "float32"
    size = torch.finfo(getattr(torch, kind)).bits // 8
    return images * crops * width * size, f"{images:,} images x {crops} crops x {width} {kind}"

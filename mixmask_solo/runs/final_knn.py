# SPDX-License-Identifier: MIT
"""The k-NN accuracy of a run that is complete, as ``mixmask-knn`` measures it."""

import logging
from collections.abc import Iterator
from contextlib import contextmanager
from functools import partial
from pathlib import Path
from typing import Any

from omegaconf import DictConfig

from mixmask_solo import screen
from mixmask_solo.config import ConfigError
from mixmask_solo.config.files import read_json, write_json
from mixmask_solo.evaluation.run_knn import evaluate_knn
from mixmask_solo.records.checkpoints import LAST
from mixmask_solo.records.result import RESULT

log = logging.getLogger(__name__)
_LIMITS = ("limit_train_batches", "limit_val_batches")


@contextmanager
def _hushed(*names: str) -> Iterator[None]:
    """Nothing but errors of these loggers."""
    loggers = [logging.getLogger(name) for name in names]
    levels = [logger.level for logger in loggers]
    for logger in loggers:
        logger.setLevel(logging.ERROR)
    try:
        yield
    finally:
        for logger, level in zip(loggers, levels, strict=True):
            logger.setLevel(level)


def final_knn(cfg: DictConfig, result: dict[str, Any], device: str) -> dict[str, Any]:
    """Measures ``last.ckpt`` in evaluation mode on images that are not augmented.

    The online k-NN compares features of augmented views that the network gave while it changed.
    Nothing is measured where that one is off, with ``knn_eval.final: false``, without a checkpoint,
    and of trials on a part of the images (``limit_train_batches``, ``limit_val_batches``).

    Returns ``{"knn": {...}}``, which ``result.json`` then holds too, else nothing; ``knn.json`` has
    all of it.
    """
    folder = Path(result.get("directory", ""))
    tried = any(cfg.get(key) not in (None, 1.0) for key in _LIMITS)
    wanted = cfg.knn_eval.enabled and cfg.knn_eval.final and cfg.checkpoint.enabled and not tried
    if not wanted or result.get("status") != "completed" or result.get("already"):
        return {}
    watch = partial(screen.track, label="k-NN, features")
    try:
        with _hushed("mixmask_solo.data", "mixmask_solo.records"):  # the run has told it already
            found = evaluate_knn(folder / LAST, device=device, watch=watch)
    except (ConfigError, ValueError) as error:  # the run itself is complete
        log.warning("k-NN of %s: %s", folder / LAST, error)
        return {}
    write_json(folder / "knn.json", found)
    keys = ("features", "distance", "k", "temperature", "acc1", "acc5")
    told = {"knn": {key: found["rows"][0][key] for key in keys}}
    write_json(folder / RESULT, {**read_json(folder / RESULT), **told})
    return told

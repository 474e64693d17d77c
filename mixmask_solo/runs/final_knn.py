# SPDX-License-Identifier: MIT
"""The k-NN accuracy of a run that is complete, as ``mixmask-knn`` measures it."""

import logging
from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from omegaconf import DictConfig

from mixmask_solo import screen
from mixmask_solo.config import ConfigError
from mixmask_solo.config.files import write_json
from mixmask_solo.evaluation.knn_record import write_knn
from mixmask_solo.evaluation.run_knn import SOLO_LEARN, evaluate_knn
from mixmask_solo.records.checkpoints import LAST

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


class _Stopped(Exception):
    """There is no time for it."""


def final_knn(
    cfg: DictConfig, result: dict[str, Any], device: str, asked: Callable[[], bool]
) -> dict[str, Any]:
    """Measures ``last.ckpt`` in evaluation mode on images that are not augmented.

    The online k-NN compares features of augmented views that the network gave while it changed.
    Nothing is measured where that one is off, with ``knn_eval.final: false``, without a checkpoint,
    of trials on a part of the images (``limit_train_batches``, ``limit_val_batches``), and twice.
    The run is complete: what goes wrong here is told, and nothing else becomes of it.

    Args:
        device: that of the network, where the bank lies unless ``knn_eval.bank_device`` is
            ``cpu``, or several processes shared the online one.
        asked: whether the process is to end; looked at with every batch.

    Returns ``{"knn": {...}}``, which ``result.json`` then holds too, else nothing; ``knn.json`` has
    all of it.
    """
    folder, block = Path(result.get("directory", "")), cfg.knn_eval
    limits = [cfg.get(key) for key in _LIMITS]
    tried = any(isinstance(x, int) or x not in (None, 1.0) for x in limits)  # 1 is one batch
    wanted = block.enabled and block.final and cfg.checkpoint.enabled and not tried
    there = result.get("status") == "completed" and (folder / LAST).is_file()
    if not wanted or not there or "knn" in result:
        return {}

    def watch(loader: Iterable[Any]) -> Iterator[Any]:
        for batch in screen.track(loader, "k-NN, features"):
            if asked():
                raise _Stopped
            yield batch

    shared = int(result.get("processes") or 1) > 1
    try:
        with _hushed("mixmask_solo.data", "mixmask_solo.records"):  # the run has told it already
            found = evaluate_knn(
                folder / LAST,
                protocols=[SOLO_LEARN],
                data={"stage_to": cfg.data.get("stage_to")},
                device=device,
                bank_dtype=block.get("bank_dtype") or "float32",
                bank_device="cpu" if shared else block.get("bank_device") or "device",
                watch=watch,
            )
    except _Stopped:
        log.info("k-NN in evaluation mode is left out: asked to end; mixmask-knn measures it")
        return {}
    except (ConfigError, ValueError, RuntimeError, OSError) as error:
        log.warning("k-NN of %s: %s; mixmask-knn measures it", folder / LAST, error)
        return {}
    write_json(folder / "knn.json", found)
    return write_knn(folder, found["rows"][0])

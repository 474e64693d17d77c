# SPDX-License-Identifier: MIT
"""What pretraining and probes share: how a run begins, goes on and ends."""

from __future__ import annotations

import logging
import os
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

from lightning.pytorch import Callback, LightningModule, Trainer
from omegaconf import DictConfig, OmegaConf

from mixmask_solo.config import ConfigError
from mixmask_solo.data import ImageData, identity
from mixmask_solo.records.damage import damage
from mixmask_solo.records.files import read_json
from mixmask_solo.records.result import RESULT
from mixmask_solo.runs.checkpointer import Checkpointer
from mixmask_solo.runs.contradictions import Completed
from mixmask_solo.runs.epoch_state import EpochState
from mixmask_solo.runs.interrupt import Interrupted, InterruptSaver
from mixmask_solo.runs.progress import ProgressReport, Throughput
from mixmask_solo.runs.readback import Readback
from mixmask_solo.runs.record import RunRecord
from mixmask_solo.runs.run import Run, new_directory
from mixmask_solo.runs.start import locate
from mixmask_solo.runs.trainer import build_loggers, build_trainer

__all__ = ["Lifecycle"]

log = logging.getLogger(__name__)
_PATHS = (
    *("data.train_path", "data.val_path", "data.root"),
    *("init_from", "pretrained_feature_extractor"),
)


class Lifecycle:
    """One run from its resolved configuration to its result; a context that holds its folder.

    Args:
        cfg: the resolved configuration, ``data.num_classes`` included.
        images: the data module; its images are found, none is read yet.
        root: where folders of such runs lie.
        host: whose classes train.
        complete: fills defaults that a stored configuration lacks.
        extra: further things that tell the run's input from another's.
        callbacks: of this kind of run; they stand before those that save.
        more: asked at the end for further entries of the result.

    Raises:
        ConfigError: for a checkpoint that cannot be used, or a run that is in use.
    """

    def __init__(
        self,
        cfg: DictConfig,
        images: ImageData,
        root: Path,
        *,
        host: str,
        complete: Completed,
        extra: dict[str, Any] | None = None,
        callbacks: Sequence[Callback] = (),
        more: Callable[[], dict[str, Any]] = dict,
    ) -> None:
        _make_absolute(cfg)
        data = {**identity(images), **(extra or {})}
        directory = new_directory(root, str(cfg.name))
        self.run = Run(cfg, data, 1, host, directory)
        saver = Checkpointer(self.run) if cfg.checkpoint.enabled else None
        throughput, readback = Throughput(), Readback(saver)
        self.interrupts = InterruptSaver(saver)
        self.record = RunRecord(
            self.run,
            throughput,
            readback,
            images.tolerance,
            lambda: {**more(), **damage(images.tolerance, self.run.directory)},
        )
        # Order matters: the record begins before anything writes, and tells of images that are
        # counted already; what is logged, read back and judged comes before what is saved.
        self.trainer = build_trainer(
            cfg,
            [
                throughput,
                self.record,
                *callbacks,
                EpochState(),
                readback,
                ProgressReport(readback, throughput),
                *([saver] if saver else []),
                self.interrupts,
            ],
        )
        self.run.processes = self.trainer.world_size
        try:
            locate(self.run, complete=complete, writes=self.trainer.is_global_zero)
            self.record.loggers = build_loggers(cfg, self.run.directory, self.run.steps)
        except BaseException:
            self.run.release()
            raise

    def __enter__(self) -> Lifecycle:
        return self

    def __exit__(self, *error: object) -> None:
        self.run.release()

    @property
    def finished(self) -> bool:
        """Nothing is left to do."""
        return self.run.finished

    def earlier_result(self) -> dict[str, Any]:
        """What the finished run left behind, with ``already: True``.

        One that was killed after its last checkpoint, before it could say that it is completed,
        says so now. A checkpoint that lies in no run's folder has left nothing behind.
        """
        directory = self.run.directory
        found = read_json(directory / RESULT)
        if found.get("id") != self.run.id:
            return {"directory": str(directory), "already": True}
        if found["status"] != "completed" and self.trainer.is_global_zero:
            for callback in self.trainer.callbacks:  # type: ignore[attr-defined]
                if callback.state_key in self.run.saved:
                    callback.load_state_dict(self.run.saved[callback.state_key])
            found = self.record.complete(found)
        return {**found, "directory": str(directory), "already": True}

    def fit(self, model: LightningModule, data: Any) -> dict[str, Any]:
        """Trains, and writes ``result.json`` however that ends.

        Args:
            model: what is trained.
            data: a data module.

        Returns:
            The content of ``result.json`` plus ``directory``.

        Raises:
            ConfigError: where the checkpoint's weights do not fit.
            Interrupted: after a signal, with the checkpoint saved.
            NonFiniteLoss: naming step, terms and the last good checkpoint.
        """
        status, error = "failed", ""
        result: dict[str, Any] = {}
        try:
            self.trainer.fit(model, datamodule=data, ckpt_path=self.run.checkpoint)
            status = "completed" if _is_done(self.trainer) else "interrupted"
        except BaseException as caught:
            status = "interrupted" if isinstance(caught, Interrupted) else "failed"
            error = "" if status == "interrupted" else f"{type(caught).__name__}: {caught}"
            if "Error(s) in loading state_dict" in error:
                raise ConfigError(
                    f"checkpoint '{self.run.checkpoint}' does not fit this configuration: "
                    f"{str(caught).splitlines()[-1].strip()}"
                ) from caught
            raise
        finally:
            result = self._end(status, error)
        return {**result, "directory": str(self.run.directory)}

    def _end(self, status: str, error: str) -> dict[str, Any]:
        try:
            return self.record.finish(self.trainer, status, error)
        except OSError as failure:  # what ended the run, a full disk for one, is told instead
            log.error("%s cannot be written: %s", self.run.directory / RESULT, failure)
            return {}
        finally:
            self.interrupts.release()


def _make_absolute(cfg: DictConfig) -> None:
    """A relative path is another one from another folder: what is stored tells which it was."""
    for key in _PATHS:
        path = OmegaConf.select(cfg, key)
        if isinstance(path, str):
            OmegaConf.update(cfg, key, os.path.abspath(os.path.expanduser(path)))


def _is_done(trainer: Trainer) -> bool:
    """Whether training went to its end; a callback may have stopped it before."""
    return trainer.max_epochs is not None and trainer.current_epoch >= trainer.max_epochs

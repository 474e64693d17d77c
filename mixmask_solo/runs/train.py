# SPDX-License-Identifier: MIT
"""What pretraining and probes share: how a run begins, goes on and ends."""

import os
import sys
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

from lightning.pytorch import Callback, LightningDataModule, LightningModule, Trainer
from omegaconf import DictConfig, OmegaConf

from mixmask_solo import screen
from mixmask_solo.config import ConfigError, to_values
from mixmask_solo.config.files import read_json
from mixmask_solo.config.free import has_effect
from mixmask_solo.data.identity import Images, identity
from mixmask_solo.records.pretrained import START
from mixmask_solo.records.provenance import overrides
from mixmask_solo.records.registry.record import RESULT
from mixmask_solo.runs.banner import banner
from mixmask_solo.runs.beat import Beat
from mixmask_solo.runs.checkpointer import Checkpointer
from mixmask_solo.runs.collapse import collapse_watch
from mixmask_solo.runs.contradictions import Completed
from mixmask_solo.runs.epoch_state import EpochState
from mixmask_solo.runs.interrupt import Interrupted, InterruptSaver
from mixmask_solo.runs.performance import apply_performance
from mixmask_solo.runs.progress import ProgressReport
from mixmask_solo.runs.ranks import EpochMeans, LocalBuffers
from mixmask_solo.runs.readback import Readback
from mixmask_solo.runs.result_file import ResultFile
from mixmask_solo.runs.resume import locate
from mixmask_solo.runs.run import Run, new_directory
from mixmask_solo.runs.throughput import Throughput
from mixmask_solo.runs.trainer import build_loggers, build_trainer

Measure = Callable[[dict[str, Any], Callable[[], bool]], dict[str, Any]]
Ended = Callable[[Path], None]
Build = Callable[[Run, Trainer, Callable[[], None]], tuple[LightningModule, LightningDataModule]]

_PATHS = (
    *("data.train_path", "data.val_path", "data.root"),
    *("data.train_images", "data.val_images"),
    *("init_from", START),
    *("method_kwargs.saliency.localizer.weights", "method_kwargs.saliency.localizer.from_run"),
)


def train(
    cfg: DictConfig,
    images: Images,
    root: Path,
    build: Build,
    *,
    subject: str,
    host: str,
    completed: Completed,
    extra: dict[str, Any],
    callbacks: Sequence[Callback],
    more: Callable[[], dict[str, Any]] = dict,
    measure: Measure = lambda _, __: {},
    ended: Ended | None = None,
) -> dict[str, Any]:
    """One run from its resolved configuration ``cfg`` to its result, in a folder under ``root``.

    Args:
        build: what is trained, and on what; asked where something is left to do. It calls what it
            is given once nothing in the configuration can be wrong any more: a banner is printed.
        subject: what is trained, in words.
        completed: fills defaults that a stored configuration lacks.
        extra: what else tells the run's input from another's.
        more: asked at the end for further entries of the result.
        measure: what a result, which is written, is completed by; told whether the process is
            asked to end, which it then does soon.
        ended: called with the run's folder once its result is final, however it has ended.

    Returns the content of ``result.json`` plus ``directory``, and ``already: True`` where nothing
    was left to do.
    """
    with screen.task("opening the images"):
        images.prepare_data()  # downloads only where data.download says so
        cfg.data.num_classes = images.num_classes
        _make_absolute(cfg)
        told = identity(images)
    run = Run(cfg, told | extra, host, new_directory(root, cfg, _distinct(overrides())))
    throughput, readback = Throughput(), Readback(run)
    interrupts = InterruptSaver(run, readback, throughput)
    result_file = ResultFile(run, throughput, readback, images.tolerance, more)
    # Order matters: the record begins before anything writes, and tells of images that are
    # counted already; what is logged, read back and judged comes before what is saved.
    measuring = [
        throughput,
        result_file,
        LocalBuffers(),
        *callbacks,
        EpochState(readback.ranks),
        EpochMeans(),
    ]
    saving = [Checkpointer(run), interrupts] if run.saves else [interrupts]
    watch = collapse_watch(readback, cfg, len(images.opened))
    progress = ProgressReport(readback, throughput, watch.highest)
    telling = [readback, watch, progress, Beat(run)]
    trainer = build_trainer(cfg, [*measuring, *telling, *saving])
    run.processes, run.writes = trainer.world_size, trainer.is_global_zero
    try:
        locate(run, completed)
        result_file.loggers = build_loggers(cfg, run.directory, run.steps)
        if run.finished:
            result = _earlier_result(run, trainer, result_file)
            return {**result, **(measure(result, interrupts.asked) if run.writes else {})}

        def announce() -> None:
            if run.writes:
                print(banner(run, trainer, images, subject), file=sys.stderr, flush=True)

        with screen.task("building the network"):
            model, source = build(run, trainer, announce)
        apply_performance(model, cfg.performance, trainer.strategy.root_device)
        result = _fit(run, trainer, result_file, model, source)
        progress.close()
        return {**result, **(measure(result, interrupts.asked) if run.writes else {})}
    finally:
        progress.close()
        if ended is not None and (result_file.began or (run.finished and run.writes)):
            ended(run.directory)
        interrupts.release()
        run.release()


def _distinct(overrides: Sequence[str]) -> list[str]:
    """What an override changes in a run, without the blocks around its key."""
    last = dict(o.lstrip("+~").partition("=")[::2] for o in overrides)
    kept = {k: v for k, v in last.items() if v and has_effect(k) and k not in ("seed", *_PATHS)}
    # a path is too long for a name, but none is another run
    scratch = ["scratch"] if last.get(START) == "null" else []
    return scratch + [f"{key.rpartition('.')[2]}={value}" for key, value in kept.items()]


def _make_absolute(cfg: DictConfig) -> None:
    """A relative path is another one from another folder: what is stored tells which it was."""
    for key in _PATHS:
        path = to_values(OmegaConf.select(cfg, key))
        if isinstance(path, str):
            OmegaConf.update(cfg, key, _absolute(path))
        elif isinstance(path, list):
            OmegaConf.update(cfg, key, [_absolute(each) for each in path])


def _absolute(path: str) -> str:
    return os.path.abspath(os.path.expanduser(path))


def _earlier_result(run: Run, trainer: Trainer, result_file: ResultFile) -> dict[str, Any]:
    """What the finished run left behind; killed before it could say so, it says so now."""
    found = read_json(run.directory / RESULT)
    if found.get("id") != run.id:
        found = {}
    elif found["status"] != "completed" and run.writes:
        for callback in trainer.callbacks:  # type: ignore[attr-defined]
            if callback.state_key in run.saved:
                callback.load_state_dict(run.saved[callback.state_key])
        found = result_file.complete(found)
    return {**found, "directory": str(run.directory), "already": True}


def _fit(
    run: Run, trainer: Trainer, result_file: ResultFile, model: LightningModule, data: Any
) -> dict[str, Any]:
    status, error = "failed", ""
    try:
        trainer.fit(model, datamodule=data, ckpt_path=run.checkpoint)
        # a callback may have stopped it before its end
        status = "completed" if trainer.current_epoch >= int(run.cfg.max_epochs) else "interrupted"
    except Interrupted:
        status = "interrupted"
        raise
    except BaseException as caught:
        error = f"{type(caught).__name__}: {caught}"
        if "Error(s) in loading state_dict" in error:
            raise ConfigError(
                f"checkpoint '{run.checkpoint}' does not fit this configuration: "
                f"{str(caught).splitlines()[-1].strip()}"
            ) from caught
        raise
    finally:
        result = result_file.finish(trainer, status, error)
    return {**result, "directory": str(run.directory)}

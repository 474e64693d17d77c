# SPDX-License-Identifier: MIT
"""Where a run begins: anew, from a checkpoint that is named, or from what ``auto_resume`` finds."""

import logging
import os
import time
from pathlib import Path
from typing import Any

from mixmask_solo.config import ConfigError
from mixmask_solo.config.files import read_json
from mixmask_solo.jobs.variables import RUN
from mixmask_solo.records.checkpoints import LAST, META, read_checkpoint
from mixmask_solo.records.registry.record import RESULT
from mixmask_solo.runs import length
from mixmask_solo.runs.contradictions import Completed, differences, refuse_contradictions
from mixmask_solo.runs.run import Run

log = logging.getLogger(__name__)


def locate(run: Run, completed: Completed) -> None:
    """Sets where a run goes on from, and locks its folder; a new run's does not exist yet.

    Raises ConfigError for a checkpoint that cannot be used or contradicts the configuration, and
    where another process is at the same run.
    """
    if RUN in os.environ and (record := read_json(run.directory / RESULT)).get("id"):
        _rejoin(run, record, completed)  # a job that was started again
        if run.checkpoint or run.finished or not run.cfg.resume_from_checkpoint:
            return
    if run.cfg.resume_from_checkpoint:
        path = Path(run.cfg.resume_from_checkpoint).expanduser().absolute()
        content = read_checkpoint(path)
        refuse_contradictions(run, content, path, completed)
        _go_on(run, path, content, _own_folder(path, content))
    elif run.cfg.auto_resume.enabled:
        _join(run, completed)


def _go_on(run: Run, path: Path, content: dict[str, Any], own: Path | None) -> None:
    run.checkpoint, run.steps = path, int(content["global_step"])
    run.saved = content.get("callbacks") or {}
    done = int(content["loops"]["fit_loop"]["epoch_progress"]["current"]["processed"])
    run.finished = done >= int(run.cfg.max_epochs)
    if own is not None:
        run.directory, run.id = own, content[META]["id"]
        run.lock(own)
    if run.finished:
        told = f"'{path}' has {length.done(run.cfg, done)}"
        key = length.key(run.cfg)
        log.info("nothing is left to do: %s; raise %s, or start a new run", told, key)


def _own_folder(path: Path, content: dict[str, Any]) -> Path | None:
    """The folder of the run that wrote this checkpoint, if going on from it loses nothing there."""
    mine = (content.get(META) or {}).get("id")
    if RUN in os.environ:
        log.info("going on from '%s' in this job's own folder", path)
    elif mine is None:
        log.info("'%s' is of an older version or of other code: going on in a new folder", path)
    elif read_json(path.parent / RESULT).get("id") != mine:
        log.info("'%s' does not lie in its run's folder: going on in a new one", path)
    elif _is_newer(path.parent / LAST, path, content):
        log.info("'%s' is older than %s: going on in a new folder", path, LAST)
    else:
        return path.parent
    return None


def _is_newer(last: Path, path: Path, content: dict[str, Any]) -> bool:
    try:
        return not last.samefile(path) and (
            read_checkpoint(last)["global_step"] > content["global_step"]
        )
    except (FileNotFoundError, ConfigError):  # there is none, or a damaged one
        return False


def _join(run: Run, completed: Completed) -> None:
    """Goes on with the newest run beside this one's folder that is this very one, if there is."""
    for folder in _newest_first(run.directory.parent, float(run.cfg.auto_resume.max_hours)):
        record = read_json(folder / RESULT)
        if _is_same(run, record, completed):
            _enter(run, folder, record)
            return


def _rejoin(run: Run, record: dict[str, Any], completed: Completed) -> None:
    """Goes on with what the same job began before it was started again."""
    if not _is_same(run, record, completed):
        found = differences(completed(record.get("config") or {}), run.told()["config"])[:3]
        keys = (f"{d.key} was {d.old!r} and is {d.new!r}" for d in found)
        raise ConfigError(
            f"'{run.directory}' was begun by this job with another configuration "
            f"({', '.join(keys) or 'its images, host or number of processes'}): "
            "restore the files that it is composed of, or submit a new job"
        )
    _enter(run, run.directory, record)


def _enter(run: Run, folder: Path, record: dict[str, Any]) -> None:
    """Goes on with the run in ``folder``, whose ``result.json`` is ``record``."""
    if record.get("status") == "completed":
        told = "nothing is left to do: %s is completed; another seed or name is another run"
        log.info(told, folder)
        run.directory, run.id, run.finished = folder, record["id"], True
        return
    run.lock(folder)
    found = _newest_readable(folder, record["id"])
    if found:
        log.info("going on with %s", found[0])
        _go_on(run, *found, folder)
    elif not record.get("epochs"):
        log.info("%s was stopped before its first checkpoint: anew", folder)
        run.directory, run.id = folder, record["id"]
    else:
        log.warning("%s holds no readable checkpoint: a new run", folder)
        run.release()


def _newest_first(root: Path, max_hours: float) -> list[Path]:
    """Folders of runs, by when they last said that they are alive."""
    oldest = time.time() - 3600 * max_hours
    written = {file.parent: file.stat().st_mtime for file in root.glob(f"*/{RESULT}")}
    recent = (folder for folder in written if written[folder] > oldest)
    return sorted(recent, key=written.__getitem__, reverse=True)


def _is_same(run: Run, record: dict[str, Any], completed: Completed) -> bool:
    told = run.told()
    if "id" not in record or not record.get("config"):
        return False
    if any(record.get(key) != told[key] for key in ("processes", "host", "data")):
        return False
    return not differences(completed(record["config"]), told["config"])


def _newest_readable(folder: Path, run_id: str) -> tuple[Path, dict[str, Any]] | None:
    """``last.ckpt``, or where it is damaged the newest checkpoint of the run that is not."""
    for path in sorted(folder.glob("*.ckpt"), key=lambda p: (p.name != LAST, -p.stat().st_mtime)):
        try:
            content = read_checkpoint(path)
        except ConfigError as error:
            log.warning("%s; trying an older one", error)
            continue
        if (content.get(META) or {}).get("id") == run_id and "optimizer_states" in content:
            return path, content
    return None

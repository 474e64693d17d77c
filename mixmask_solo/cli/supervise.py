# SPDX-License-Identifier: MIT
"""How a training ends when it does not end well: one line, the right status, nothing lost."""

from __future__ import annotations

import os
import signal
import sys
import threading
from collections.abc import Callable
from pathlib import Path
from typing import Any

from mixmask_solo.cli.advice import resume_command
from mixmask_solo.cli.ending import Failure, complain, fail, one_line
from mixmask_solo.cli.ranks import dismiss, rank, watch

__all__ = ["output_folder", "supervise"]


def supervise(
    command: str,
    run: Callable[[], dict[str, Any]],
    *,
    again: str = "",
    folder: str | Path | None = None,
) -> dict[str, Any]:
    """Calls ``run``; ends the process with one line where it does not come back.

    Args:
        command: name shown before the line.
        run: returns a run's result.
        again: how to resume; by default a command to paste.
        folder: where runs are written.

    Raises:
        Failure: with status 128 + signal where the run was interrupted, 2 for what the user has to
            change, 1 for what else can happen without a bug.
    """
    from mixmask_solo.runs.interrupt import Interrupted
    from mixmask_solo.runs.readback import NonFiniteLoss

    watch(lambda what: _die(command, what))
    before, threading.excepthook = threading.excepthook, _in_thread
    try:
        with one_line(command, folder):
            try:
                return run()
            except NonFiniteLoss as error:
                fail(command, str(error), 1)
            except Interrupted as stop:
                raise _interrupted(command, stop, again) from None
    except BaseException:
        dismiss()
        raise
    finally:
        threading.excepthook = before


def output_folder(cfg: Any) -> str | None:
    """Where a configuration has its runs written; None where it does not say so properly."""
    from omegaconf import OmegaConf

    folder = OmegaConf.select(cfg, "checkpoint.dir", throw_on_resolution_failure=False)
    return folder if isinstance(folder, str) else None


def _interrupted(command: str, stop: Any, again: str) -> Failure:
    number = signal.Signals(stop.signum)
    reason = "there is no checkpoint yet" if stop.saving else "checkpoint.enabled is false"
    saved, how, folder = f"nothing was saved: {reason}", "", ""
    if stop.checkpoint is not None:
        saved, folder = f"saved {stop.checkpoint}", str(Path(stop.checkpoint).parent)
        if not stop.saved:
            saved = f"stopped at once, the newest checkpoint is {stop.checkpoint}"
        how = again or resume_command(command, sys.argv[1:], stop.checkpoint)
    if rank() == 0:  # all ranks stop together
        complain(command, f"interrupted ({number.name}); {saved}{how and f'; to resume: {how}'}")
    return Failure(saved, 128 + number, folder)


def _die(command: str, what: str) -> None:
    complain(command, f"the training processes lost each other: {what}")
    os._exit(1)  # the main thread waits for them, and cannot be woken


def _in_thread(args: threading.ExceptHookArgs) -> None:
    writer = type(args.thread).__module__.startswith("tensorboard.")
    if not (writer and isinstance(args.exc_value, OSError)):  # that comes again in the main thread
        threading.__excepthook__(args)

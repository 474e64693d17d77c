# SPDX-License-Identifier: MIT
"""How a run ends when it does not end well: one line, the right status, nothing lost."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from mixmask_solo.cli.app import fail

__all__ = ["supervise"]


def supervise(
    command: str, run: Callable[[], dict[str, Any]], *, again: str = ""
) -> dict[str, Any]:
    """Calls ``run``; ends the process when it is interrupted, diverges or meets a damaged image.

    Args:
        command: name shown before the line.
        run: returns a run's result.
        again: how to resume; by default with ``resume_from_checkpoint``.
    """
    from mixmask_solo.data import ImageError
    from mixmask_solo.runs.interrupt import Interrupted
    from mixmask_solo.runs.readback import NonFiniteLoss

    try:
        return run()
    except Interrupted as stop:
        if stop.checkpoint is None:
            fail(command, "interrupted; nothing was saved: checkpoint.enabled is false", code=130)
        how = again or f"repeat the command with resume_from_checkpoint='{stop.checkpoint}'"
        fail(command, f"interrupted; saved {stop.checkpoint}; to resume, {how}", code=130)
    except NonFiniteLoss as error:
        fail(command, str(error), code=1)
    except ImageError as error:
        # Out of a worker process it comes with that process's stack before the message.
        fail(command, str(error).strip().splitlines()[-1].rpartition("ImageError: ")[2])

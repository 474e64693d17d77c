# SPDX-License-Identifier: MIT
"""What a command shows while it works: bars on a terminal, a line now and then elsewhere."""

from mixmask_solo.screen.board import Task, say, task, track
from mixmask_solo.screen.line import duration, fit, line
from mixmask_solo.screen.rank import rank

__all__ = ["Task", "duration", "fit", "line", "rank", "say", "task", "track"]

# SPDX-License-Identifier: MIT
"""When a run has to stop so that it is saved before its job is ended."""

import os
import time

from mixmask_solo.jobs.variables import DEADLINE

_MARGIN = 10.0  # seconds; clocks of nodes differ, and a process takes time to end


class Deadline:
    """The end of the job that this process is in, if one is told, and what stopping takes.

    Asked between two steps. Between two questions lies at most a validation with the checkpoint
    behind it; the longest such time that was seen is kept free twice, since it may begin anew just
    before it is time to stop and another checkpoint be written then.
    """

    def __init__(self) -> None:
        self._end = _told()
        self._asked: list[float] = []  # when, the last two times
        self._gap: float | None = None  # the first one counts for nothing: compilers run in it

    @property
    def lead(self) -> float:
        """Seconds before the end at which a run stops."""
        return _MARGIN + 2 * (self._gap or 0.0)

    def due(self) -> bool:
        """Whether to stop now."""
        if self._end is None:
            return False
        self._asked = [*self._asked[-1:], time.monotonic()]
        if len(self._asked) == 2:
            gap = self._asked[1] - self._asked[0]
            self._gap = 0.0 if self._gap is None else max(self._gap, gap)
        return time.time() >= self._end - self.lead


def _told() -> float | None:
    try:
        return float(os.environ.get(DEADLINE, ""))
    except ValueError:  # there is none
        return None

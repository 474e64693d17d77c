# SPDX-License-Identifier: MIT
"""``mixmask-tables run`` on this machine: what is missing, one after the other."""

import os
import signal
import sys
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path

from filelock import FileLock, Timeout

from mixmask_solo.jobs.process import Outcome, Process, Relay
from mixmask_solo.jobs.variables import AGAIN
from mixmask_solo.tables.match import Runs
from mixmask_solo.tables.missing import Missing, missing
from mixmask_solo.tables.training import Evaluation, Training, as_typed

_SIGNALS = (signal.SIGINT, signal.SIGTERM, signal.SIGUSR1, signal.SIGHUP)
_POLL = 5.0  # seconds
_LOCKS = ".tables"  # in the folder of the runs


class _Stopped(Exception):
    """By a signal, which a run has heard too."""

    def __init__(self, number: int) -> None:
        self.number = number


class LocalRuns:
    """Trains and measures; whatever becomes of one run, the others follow."""

    def __init__(self, command: str, folder: Path, look: Callable[[], Runs]) -> None:
        self.command, self.folder, self.look = command, folder, look
        self.failed: list[tuple[str, str]] = []  # what, why
        self.started = 0

    def run(self, trainings: Sequence[Training]) -> int:
        """Returns the exit status: 0, 1 where something failed, 128 + signal."""
        with Relay({number: number for number in _SIGNALS}) as self._signals:
            try:
                for number, training in enumerate(trainings, start=1):
                    self._complete(training, f"{number} of {len(trainings)}")
            except _Stopped as stop:
                print(f"{self.command}: stopped; the same command goes on", file=sys.stderr)
                return 128 + stop.number
        for what, why in self.failed:
            print(f"{self.command}: {what}: {why}", file=sys.stderr)
        return int(bool(self.failed))

    def _complete(self, training: Training, place: str) -> None:
        """Trains where nobody else does, then measures."""
        with self._alone(training):
            left = self._missing(training)
            while left is not None and left.alive:  # of a job, or one that outlived its table
                self._wait(left)
                left = self._missing(training)
            if left is None:
                return
            if not left.trained:
                command = training.command(self.folder)
                if not self._call(command, f"training {place}: {training.label}"):
                    return
                left = self._missing(training)
            if left is not None and not left.trained:
                reasons = "; ".join(self.look().left_out.values())
                why = reasons or "was its configuration changed?"
                told = f"it ended well, but is no run of its cell: {why}"
                self.failed.append((training.label, told))
                return
            if left is not None:
                for evaluation in left.evaluations:
                    self._measure(left, evaluation, place)

    @contextmanager
    def _alone(self, training: Training) -> Iterator[None]:
        """Two that run the same table train each run once."""
        place = self.folder / _LOCKS
        place.mkdir(parents=True, exist_ok=True)
        lock = FileLock(place / training.key)
        told = False
        while True:
            try:
                lock.acquire(timeout=_POLL if told else 0)
                break
            except Timeout:
                if not told:
                    who = "another mixmask-tables is at it; waiting"
                    print(f"{self.command}: {training.label}: {who}", file=sys.stderr, flush=True)
                told = True
                self._heed()
        try:
            yield
        finally:
            lock.release()

    def _heed(self) -> None:
        if self._signals.received:
            raise _Stopped(self._signals.received)

    def _missing(self, training: Training) -> Missing | None:
        return next(iter(missing([training], self.look())), None)

    def _measure(self, run: Missing, evaluation: Evaluation, place: str) -> None:
        command = evaluation.command(self.folder, *run.paths)
        what = f"{evaluation.protocol.metric} {place}: {run.training.label}"
        if self._call(command, what):
            left = self._missing(run.training)
            if left is not None and evaluation in left.evaluations:
                reasons = "; ".join(self.look().left_out.values())
                why = reasons or "its configuration is not the table's"
                self.failed.append((what, f"it ended well, but does not count: {why}"))

    def _call(self, command: Sequence[str], what: str) -> bool:
        """Whether it ended well."""
        print(f"{self.command}: {what}\n  {as_typed(command)}", file=sys.stderr, flush=True)
        module = f"mixmask_solo.cli.{command[0].partition('-')[2]}"
        self.started += 1
        told = {**os.environ, AGAIN: f"the same {self.command} command"}
        process = Process([sys.executable, "-m", module, *command[1:]], told)
        code, report = self._signals.wait(process)
        code = 128 - code if code < 0 else code
        stopped = self._signals.received or (code - 128 if code - 128 in _SIGNALS else 0)
        if stopped:
            raise _Stopped(stopped)
        if code:
            self.failed.append((what, _why(code, report)))
        return not code

    def _wait(self, left: Missing) -> None:
        assert left.run is not None
        who = left.run.record.result.get("process") or {}
        at = f"process {who.get('pid')} on {who.get('host')}"
        label = left.training.label
        print(f"{self.command}: {label} is being trained by {at}; waiting", file=sys.stderr)
        now: Missing | None = left
        while now is not None and now.alive:
            time.sleep(_POLL)
            self._heed()
            now = self._missing(left.training)


def _why(code: int, report: Outcome) -> str:
    return report.text or f"ended with status {code}, without a word"

# SPDX-License-Identifier: MIT
"""What is going on, each task under the one that it is a part of."""

import os
import sys
import threading
import time
from collections.abc import Iterable, Iterator, Sequence, Sized
from contextlib import contextmanager
from dataclasses import dataclass, field
from typing import Any, TextIO

from mixmask_solo.screen.line import duration, fit, line
from mixmask_solo.screen.rank import rank

_EVERY = 10.0  # seconds between lines where no terminal shows bars,
_LATER_EVERY = 60.0  # once it has shown that it goes on
_BEGINNING = 60.0
_NO_TERMINAL = 120  # columns of a file, unless COLUMNS says otherwise
_SHOWN_AFTER = 1.0  # seconds


@dataclass(eq=False)
class Task:
    """One bar: set what has changed, it is drawn when it is due."""

    label: str
    total: int | None = None
    done: int = 0
    terms: Sequence[str] = ()  # the first have the most right to be shown
    left: float | None = None  # seconds; by default what the rate so far says
    begun: float = field(default_factory=time.perf_counter)

    def restart(self, label: str, total: int | None = None) -> None:
        """Another piece of the same work."""
        self.label, self.total, self.done, self.begun = label, total, 0, time.perf_counter()

    def text(self, width: int, *, signs: bool) -> str:
        """The task in one line."""
        # Read once: another thread sets them meanwhile.
        label, total, done, left, begun = self.label, self.total, self.done, self.left, self.begun
        passed = time.perf_counter() - begun
        if left is None and total and 0 < done <= total:
            left = passed * (total - done) / done
        terms = self.terms if total else [*self.terms, duration(passed)]
        return line(label, done, total, left, terms, width, signs=signs)


class _Board:
    """The tasks that are open, and the one display of them."""

    def __init__(self) -> None:
        self.tasks: list[Task] = []
        self._display: _Bars | _Lines | None = None

    def open(self, new: Task) -> None:
        self.tasks.append(new)
        if self._display is None and not rank():  # one of several processes talks for all
            from rich.console import Console  # not before there is something to show

            console = Console(file=sys.stderr, soft_wrap=True)
            bars = console.is_terminal and not console.is_dumb_terminal
            self._display = _Bars(self.tasks, console) if bars else _Lines(self.tasks, sys.stderr)

    def close(self, old: Task) -> None:
        self.tasks.remove(old)
        if not self.tasks and self._display is not None:
            self._display.stop()
            self._display = None

    def say(self, parts: Sequence[str]) -> None:
        if self._display is not None:
            self._display.say(parts)

    def forget(self) -> None:
        """In a forked process the threads that draw are not there; locks may be held for ever."""
        if isinstance(self._display, _Bars):
            sys.stdout, sys.stderr = self._display.streams
        self.tasks, self._display = [], None


class _Bars:
    """All open tasks under each other; messages appear above them."""

    def __init__(self, tasks: list[Task], console: Any) -> None:
        self.tasks, self.console = tasks, console
        from rich.live import Live

        self.streams = (sys.stdout, sys.stderr)
        self._live = Live(
            get_renderable=self._draw, console=console, refresh_per_second=4, transient=True
        )
        self._live.start()

    def _draw(self) -> Any:
        from rich.text import Text

        now, tasks = time.perf_counter(), list(self.tasks)
        shown = [t for t in tasks if now - t.begun > _SHOWN_AFTER or t is tasks[0]]
        width, signs = self.console.width - 1, _has_signs(self.console.file)
        lines = [("  " * i) + t.text(width - 2 * i, signs=signs) for i, t in enumerate(shown)]
        return Text("\n".join(lines), no_wrap=True, overflow="crop")

    def say(self, parts: Sequence[str]) -> None:
        """A line that stays."""
        signs = _has_signs(self.console.file)
        text = fit(parts, self.console.width - 1, signs=signs)
        self.console.print(text, highlight=False, markup=False)

    def stop(self) -> None:
        self._live.stop()


class _Lines:
    """The innermost task, now and then; from a thread, so that nothing goes on in silence."""

    def __init__(self, tasks: list[Task], file: TextIO) -> None:
        self.tasks, self.file = tasks, file
        self._begun = self._last = time.perf_counter()
        self._over = threading.Event()
        self._thread = threading.Thread(target=self._run, daemon=True)
        self._thread.start()

    def _run(self) -> None:
        while not self._over.wait(0.5):
            now = time.perf_counter()
            every = _EVERY if now - self._begun < _BEGINNING else _LATER_EVERY
            tasks = list(self.tasks)
            if tasks and now - self._last >= every:
                self._last = now
                heads = "".join(f"{t.label}: " for t in tasks[:-1])
                width = _columns() - len(heads)
                self._print(heads + tasks[-1].text(width, signs=_has_signs(self.file)))

    def say(self, parts: Sequence[str]) -> None:
        """A line that stays."""
        self._last = time.perf_counter()
        self._print(fit(parts, _columns(), signs=_has_signs(self.file)))

    def _print(self, text: str) -> None:
        print(text, file=self.file, flush=True)

    def stop(self) -> None:
        self._over.set()
        self._thread.join()


def _columns() -> int:
    told = os.environ.get("COLUMNS", "")
    return int(told) if told.isdecimal() and int(told) else _NO_TERMINAL


def _has_signs(file: Any) -> bool:
    return str(getattr(file, "encoding", "") or "").lower().replace("-", "").startswith("utf")


_board = _Board()
os.register_at_fork(after_in_child=_board.forget)


@contextmanager
def task(label: str, total: int | None = None) -> Iterator[Task]:
    """A task that is shown until it is left; within another one, under that.

    On a terminal as a bar, elsewhere as a line every 10 seconds, after a minute every 60.
    """
    new = Task(label, total)
    _board.open(new)
    try:
        yield new
    finally:
        _board.close(new)


def track(items: Iterable[Any], label: str, total: int | None = None) -> Iterator[Any]:
    """The items, counted as they are asked for; their number is looked up where they tell it."""
    if total is None and isinstance(items, Sized):
        total = len(items)
    with task(label, total) as shown:
        for item in items:
            yield item
            shown.done += 1


def say(parts: Sequence[str]) -> None:
    """A line that stays, of parts that are dropped from their end where they have no room.

    Within a task only.
    """
    _board.say(parts)

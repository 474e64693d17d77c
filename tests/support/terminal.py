# SPDX-License-Identifier: MIT
"""A command on a terminal of some width, and what it has drawn there."""

from __future__ import annotations

import fcntl
import os
import pty
import re
import signal
import struct
import subprocess
import sys
import termios
import threading
import time
from pathlib import Path
from typing import Any

__all__ = ["Terminal"]

ROOT = Path(__file__).parents[2]
_CONTROL = re.compile(r"\x1b\[[0-9;?]*[A-Za-z]")


class Terminal:
    """Starts ``mixmask_solo.cli.<command>`` on a pseudo-terminal."""

    def __init__(self, columns: int, command: str, *arguments: str) -> None:
        mine, theirs = pty.openpty()
        fcntl.ioctl(theirs, termios.TIOCSWINSZ, struct.pack("HHHH", 30, columns, 0, 0))
        environment = {k: v for k, v in os.environ.items() if k not in ("COLUMNS", "LINES")}
        environment |= {"TERM": "xterm-256color", "OMP_NUM_THREADS": "1", "PYTHONPATH": str(ROOT)}
        self.process = subprocess.Popen(
            [sys.executable, "-m", f"mixmask_solo.cli.{command}", *arguments],
            stdin=theirs,
            stdout=theirs,
            stderr=theirs,
            cwd=ROOT,
            env=environment,
            start_new_session=True,
        )
        os.close(theirs)
        self._file = mine
        self._read = bytearray()
        self._reader = threading.Thread(target=self._collect, daemon=True)
        self._reader.start()

    def _collect(self) -> None:
        while True:
            try:
                piece = os.read(self._file, 1 << 16)
            except OSError:  # how a terminal says that nobody writes to it any more
                return
            if not piece:
                return
            self._read += piece

    @property
    def lines(self) -> list[str]:
        """All lines that were ever drawn, in their order, without colours and without repeats."""
        text = _CONTROL.sub("", self._read.decode(errors="replace"))
        drawn = [line.rstrip() for line in re.split(r"[\r\n]+", text)]
        return [line for line, before in zip(drawn, ["", *drawn], strict=False) if line != before]

    def wait_for(self, sign: str, seconds: float = 120.0) -> None:
        """Returns when some line has matched ``sign``."""
        end = time.monotonic() + seconds
        while not any(re.search(sign, line) for line in self.lines):
            assert time.monotonic() < end, self.lines
            assert self.process.poll() is None, self.lines
            time.sleep(0.05)

    def interrupt(self) -> None:
        self.process.send_signal(signal.SIGINT)

    def end(self, seconds: float = 180.0) -> int:
        """Its exit status."""
        try:
            code = self.process.wait(seconds)
            self._reader.join(5)
        finally:
            self.close()
        return code

    def close(self) -> None:
        if self.process.poll() is None:
            self.process.kill()
            self.process.wait()
        os.close(self._file)

    def __enter__(self) -> Terminal:
        return self

    def __exit__(self, *_: Any) -> None:
        if self.process.poll() is None:
            self.process.kill()
            self.process.wait()

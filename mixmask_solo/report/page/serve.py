# SPDX-License-Identifier: MIT
"""The page of runs in progress, for this machine's own browser alone."""

import hashlib
import logging
import sys
import threading
from collections.abc import Sequence
from contextlib import suppress
from http import HTTPStatus
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

from mixmask_solo.config import ConfigError
from mixmask_solo.records.registry.record import METRICS, RESULT, RunRecord, read_run
from mixmask_solo.report.page.data import read
from mixmask_solo.report.page.render import LIVE_POLICY, Draw, Samples, page

log = logging.getLogger(__name__)
_ADDRESS = "127.0.0.1"
_NAMES = (_ADDRESS, "localhost")  # by any other one a page of somebody else's would read this one


class Live(ThreadingHTTPServer):
    """Serves ``/``, made anew when a run has written, and ``/version``, which tells whether it has.

    What the network saw is drawn once a run.

    Raises:
        ConfigError: where the port cannot be had.
    """

    daemon_threads = True

    def __init__(self, folders: Sequence[Path], draw: Draw | None, port: int = 0) -> None:
        self.folders = [given.parent if given.is_file() else given for given in folders]
        self._draw = draw
        self._drawn: dict[Path, Samples] = {}
        self._made = ("", "")
        self._tried = ""  # what the last page was to be made of
        self._lock = threading.Lock()
        try:
            super().__init__((_ADDRESS, port), _Handler)
        except OSError as error:
            raise ConfigError(
                f"--port {port}: {error.strerror}; give another, or 0 for any that is free"
            ) from None

    def made(self) -> tuple[str, str]:
        """Version and page, of what lies there now; the last ones that could be made where a file
        is damaged at the moment.

        Raises:
            ConfigError: where none could be made yet.
        """
        with self._lock:
            version = self._version()
            if version != self._tried or not self._made[1]:
                self._tried = version
                try:
                    draw = self._once if self._draw else None
                    self._made = version, page(read(self.folders), draw=draw, version=version)
                except ConfigError as error:
                    if not self._made[1]:
                        raise
                    log.warning("the page stays as it is: %s", error)
            return self._made

    def handle_error(self, request: object, client_address: object) -> None:
        """A browser may go at any time; what else an answer fails on is a line."""
        error = sys.exc_info()[1]
        if not isinstance(error, ConnectionError):
            told = " ".join(str(error).split())
            log.warning("a page was not answered: %s %s", type(error).__name__, told)

    def _version(self) -> str:
        """Another one where a run has written, or has died."""
        told: list[object] = []
        for folder in self.folders:
            for name in (RESULT, METRICS):
                with suppress(OSError):
                    stat = (folder / name).stat()
                    told.append((str(folder), name, stat.st_mtime_ns, stat.st_size))
            with suppress(ConfigError):
                told.append(read_run(folder).state())
        return hashlib.sha256(repr(told).encode()).hexdigest()[:16]

    def _once(self, record: RunRecord) -> Samples:
        if record.folder not in self._drawn and self._draw is not None:
            self._drawn[record.folder] = self._draw(record)
        return self._drawn[record.folder]


class _Handler(BaseHTTPRequestHandler):
    server: Live
    server_version, sys_version = "mixmask-report", ""

    def do_GET(self) -> None:
        host = self.headers.get("Host", "").rpartition(":")
        if (host[0] or host[2]) not in _NAMES:
            self._answer(HTTPStatus.FORBIDDEN, "this page is for http://127.0.0.1 alone\n", "plain")
            return
        path = self.path.partition("?")[0]
        if path not in ("/", "/version"):
            self._answer(HTTPStatus.NOT_FOUND, "there is / alone\n", "plain")
            return
        try:
            version, content = self.server.made()
        except ConfigError as error:
            self._answer(HTTPStatus.SERVICE_UNAVAILABLE, f"{error}\n", "plain")
        else:
            told = (version, "plain") if path == "/version" else (content, "html")
            self._answer(HTTPStatus.OK, *told)

    do_HEAD = do_GET

    def _answer(self, status: HTTPStatus, text: str, kind: str) -> None:
        content = text.encode()
        self.send_response(status)
        self.send_header("Content-Type", f"text/{kind}; charset=utf-8")
        self.send_header("Content-Length", str(len(content)))
        self.send_header("Cache-Control", "no-store")
        self.send_header("X-Content-Type-Options", "nosniff")
        self.send_header("Content-Security-Policy", f"{LIVE_POLICY}; frame-ancestors 'none'")
        self.end_headers()
        if self.command != "HEAD":
            self.wfile.write(content)

    def log_message(self, format: str, *args: object) -> None:
        """Nothing: what is asked for is the reader's own."""

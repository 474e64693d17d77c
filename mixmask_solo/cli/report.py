# SPDX-License-Identifier: MIT
"""``mixmask-report``: runs as one HTML page that needs nothing from outside, or as a live one."""

import errno
from argparse import ArgumentTypeError
from pathlib import Path

from mixmask_solo.cli.ending import loading, one_line
from mixmask_solo.cli.parser import Parser
from mixmask_solo.config import ConfigError
from mixmask_solo.report.page.data import read
from mixmask_solo.report.page.render import Draw, page, write
from mixmask_solo.report.page.serve import Live

COMMAND = "mixmask-report"
_FULL = (errno.ENOSPC, errno.EDQUOT, errno.EIO)  # no fault of what was given
EPILOG = "Exit status: 0 done, 1 failed, 2 wrong input, 130 Ctrl-C."


def main() -> None:
    parser = Parser(prog=COMMAND, description=__doc__, epilog=EPILOG)
    help_ = "folder of a run, running or ended; several are compared"
    parser.add_argument("runs", nargs="+", type=Path, metavar="RUN", help=help_)
    help_ = "page to write (default report.html)"
    parser.add_argument("--out", type=Path, help=help_)
    help_ = "leave out the pictures of what the network saw (quicker: they load torch)"
    parser.add_argument("--no-samples", action="store_true", help=help_)
    help_ = "serve the page on 127.0.0.1 instead, made anew whenever a run writes, until Ctrl-C"
    parser.add_argument("--watch", action="store_true", help=help_)
    help_ = "port of --watch (default 0, any that is free)"
    parser.add_argument("--port", type=_port, help=help_)
    args = parser.parse_args()
    with one_line(COMMAND, args.out):
        if args.watch and args.out is not None:
            raise ConfigError("--watch serves the page and writes none: leave --out out")
        if args.port is not None and not args.watch:
            raise ConfigError("--port is for --watch: add that, or leave --port out")
        read(args.runs)  # what is wrong is told before anything is loaded
        draw = None if args.no_samples else _draw()
        if args.watch:
            _watch(args.runs, draw, args.port or 0)
            return
        out = args.out or Path("report.html")
        if out.is_dir():
            raise ConfigError(f"--out {out} is a folder: give a file, e.g. {out}/report.html")
        try:
            write(out, page(read(args.runs), draw=draw))
        except OSError as error:
            if error.errno in _FULL:
                raise
            raise ConfigError(f"--out {out} cannot be written: {error.strerror}") from None
        print(f"wrote {out}")


def _draw() -> Draw:
    with loading(COMMAND):
        from mixmask_solo.report.page.samples import samples
    return samples


def _watch(runs: list[Path], draw: Draw | None, port: int) -> None:
    with Live(runs, draw, port) as live:
        print(f"http://127.0.0.1:{live.server_port}/ (Ctrl-C ends it)", flush=True)
        live.serve_forever()


def _port(text: str) -> int:
    if not (text.isdecimal() and int(text) < 65536):
        raise ArgumentTypeError(f"{text!r} is no port: give 0 to 65535")
    return int(text)


if __name__ == "__main__":
    main()

# SPDX-License-Identifier: MIT
"""``mixmask-report``: runs as one HTML page that needs nothing from outside, or as a live one."""

import errno
from argparse import ArgumentTypeError, Namespace
from pathlib import Path

from mixmask_solo.cli.ending import loading, one_line
from mixmask_solo.cli.parser import Parser, share
from mixmask_solo.config import ConfigError
from mixmask_solo.report.page.data import of_records, read
from mixmask_solo.report.page.render import Draw, page, write
from mixmask_solo.report.page.serve import Live
from mixmask_solo.tables.find import names

COMMAND = "mixmask-report"
_FULL = (errno.ENOSPC, errno.EDQUOT, errno.EIO)  # no fault of what was given
EPILOG = "Exit status: 0 done, 1 failed, 2 wrong input, 128 + signal."


def main() -> None:
    parser = Parser(prog=COMMAND, description=__doc__, epilog=EPILOG)
    help_ = "folder of a run, running or ended, several are compared; or a table of mixmask-tables"
    parser.add_argument("given", nargs="+", type=Path, metavar="RUN|TABLE", help=help_)
    help_ = "of a table: where its runs are (default: trained_models)"
    parser.add_argument("--runs", type=Path, metavar="FOLDER", help=help_)
    parser.add_argument(
        "--scale", type=share, metavar="S", help="of a table: rehearsed with a share"
    )
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
        table = _table(args.given)
        if table is None:
            for name in ("runs", "scale"):
                if getattr(args, name) is not None:
                    raise ConfigError(f"--{name} is for a table: leave it out, or give a table")
            read(args.given)  # what is wrong is told before anything is loaded
        elif args.watch:
            raise ConfigError("--watch is for runs: leave it out, or give their folders")
        draw = None if args.no_samples else _draw()
        if args.watch:
            _watch(args.given, draw, args.port or 0)
            return
        out = args.out or Path("report.html")
        if out.is_dir():
            raise ConfigError(f"--out {out} is a folder: give a file, e.g. {out}/report.html")
        try:
            write(out, _made(args, table, draw))
        except OSError as error:
            if error.errno in _FULL:
                raise
            raise ConfigError(f"--out {out} cannot be written: {error.strerror}") from None
        print(f"wrote {out}")


def _table(given: list[Path]) -> str | None:
    """The name of a table, or its file; None where runs are given."""
    name = str(given[0])
    own = given[0].suffix in (".yaml", ".yml") or (not given[0].exists() and name in names())
    return name if own and len(given) == 1 else None


def _made(args: Namespace, table: str | None, draw: Draw | None) -> str:
    if table is None and draw is None:
        return page(read(args.given))
    with loading(COMMAND):
        from mixmask_solo.cli.table_report import paper_cells, table_page
    if table is not None:
        return table_page(table, args.runs or Path("trained_models"), args.scale or 1, draw)
    runs = read(args.given)
    return page(runs, draw=draw, cells=of_records(paper_cells, runs))


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

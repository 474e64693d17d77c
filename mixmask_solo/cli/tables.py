# SPDX-License-Identifier: MIT
"""``mixmask-tables``: the papers' tables from a plan to our numbers beside theirs."""

import argparse
from pathlib import Path

from mixmask_solo.cli.ending import loading, one_line
from mixmask_solo.cli.parser import Parser, share
from mixmask_solo.report import columns
from mixmask_solo.tables.find import find_table, names

COMMAND = "mixmask-tables"
EPILOG = """
A TABLE is a name that `list` shows, or a file of your own by the same schema (docs/tables.md).
Words with a = are overrides of every training and probe, as accelerator=cpu devices=1; --site FILE
has them by data set: `all: [...]`, `cifar100: [data.train_path=...]`. The recipe's global batch is
kept on whatever devices. Exit status: 0 done, 1 a run failed, 2 wrong input, 128 + signal.
"""
_SHOW = ("text", "markdown", "latex", "csv", "json")


def _parser() -> Parser:
    parser = Parser(
        prog=COMMAND,
        description=__doc__,
        epilog=EPILOG,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    commands = parser.add_subparsers(dest="command", metavar="COMMAND", required=True)
    commands.add_parser("list", help="the tables there are")
    for name, help_ in (
        ("plan", "runs, GPU hours and disk of a table, nothing is started"),
        ("run", "do what is missing, here or with --slurm on a cluster"),
        ("status", "how far the runs of a table are"),
        ("show", "paper and ours"),
    ):
        part = commands.add_parser(name, help=help_, description=help_)
        _add_common(part)
        if name == "plan":
            part.add_argument("--commands", action="store_true", help="print them, for a shell")
            part.add_argument("--json", action="store_true")
        elif name == "run":
            _add_run(part)
        elif name == "show":
            part.add_argument("--format", choices=_SHOW, default="text")
            part.add_argument("--out", type=Path, help="file to write (default: the terminal)")
    return parser


def _add_common(part: argparse.ArgumentParser) -> None:
    add = part.add_argument
    add("table", metavar="TABLE")
    add("overrides", nargs="*", metavar="key=value", help="of every run")
    add("--datasets", type=_words, default=[], metavar="A,B", help="only these columns")
    add("--rows", action="append", default=[], metavar="ROW", help="only this row; repeatable")
    add("--columns", action="append", default=[], metavar="COLUMN", help="likewise")
    add("--seeds", type=_seeds, default=[0], metavar="0,1,2", help="one run each (default: 0)")
    add("--scale", type=share, default=1.0, metavar="S", help="rehearse with a share (0 to 1)")
    help_ = "where runs are and go (default: trained_models)"
    add("--runs", type=Path, default=Path("trained_models"), metavar="FOLDER", help=help_)
    add("--site", type=Path, metavar="FILE", help="YAML file of overrides by data set")


def _add_run(part: argparse.ArgumentParser) -> None:
    add = part.add_argument
    add("--slurm", type=Path, metavar="FILE", help="YAML file of the cluster's keys")
    add("--folder", type=Path, default=Path("jobs"), help="where jobs are kept (default: jobs)")
    add("--dry-run", action="store_true", help="with --slurm: print, submit nothing")
    add("--wait", action="store_true", help="with --slurm: stay until all have ended")


def main() -> None:
    args = _parser().parse_args()
    with one_line(COMMAND):
        if args.command == "list":
            print(_listed())
            return
        sheet = find_table(args.table)
        with loading(COMMAND):
            from mixmask_solo.cli.table_asked import Asked
            from mixmask_solo.cli.table_plan import plan
            from mixmask_solo.cli.table_views import run, show, status
        commands = {"plan": plan, "run": run, "show": show, "status": status}
        raise SystemExit(commands[args.command](Asked(sheet, args)))


def _listed() -> str:
    rows = [("table", "title", "cells", "datasets")]
    for name in names():
        sheet = find_table(name)
        datasets = ",".join(dict.fromkeys(column.dataset for column in sheet.columns))
        rows.append((name, sheet.table.title, str(len(sheet.cells)), datasets))
    if len(rows) == 1:
        find_table("")  # says that there are none
    return columns(rows, right=(2,))


def _words(text: str) -> list[str]:
    return [word for word in text.split(",") if word]


def _seeds(text: str) -> list[int]:
    words = _words(text)
    if not words or not all(word.isdigit() for word in words) or len(set(words)) < len(words):
        raise argparse.ArgumentTypeError(f"{text!r}: give whole numbers, each once, as 0,1,2")
    return [int(word) for word in words]


if __name__ == "__main__":
    main()

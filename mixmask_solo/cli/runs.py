# SPDX-License-Identifier: MIT
"""``mixmask-runs``: what has been run, what came out best, and what may go."""

import argparse
import json
import os
import shutil
import sys
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from mixmask_solo.cli.ending import complain, one_line
from mixmask_solo.cli.parser import Parser, at_least
from mixmask_solo.cli.runs_asked import COMMAND, asked, completed
from mixmask_solo.cli.runs_prune import prune
from mixmask_solo.config import ConfigError, listing
from mixmask_solo.records.registry.filters import parse_filter
from mixmask_solo.records.registry.groups import best, group, lower_is_better, ordered
from mixmask_solo.records.registry.keys import Key
from mixmask_solo.records.registry.record import RESULT, STATES, RunRecord, read_run
from mixmask_solo.records.registry.row import Row
from mixmask_solo.report.run_card import card, comparison, differing, measured, saved
from mixmask_solo.report.runs_spread import METRICS, spread_lines, spread_table, warnings
from mixmask_solo.report.runs_table import SHOWN, WRITTEN, as_csv, summary, table

EPILOG = """
Words are folders that hold runs (default: trained_models, or the current folder) or filters:
  method=byol  knn>90  method_kwargs.mixmask.grid_size>=4  name=simclr*  state!=failed  error~memory
Keys are metrics, entries of result.json and keys of the configuration, by their end where that is
the only one. Short ones: knn, acc1, state, name, folder, kind, method, mixed, epoch, date, age.

  mixmask-runs ls state=running --sort knn --reverse
  mixmask-runs best knn method=simclr --path
  mixmask-runs compare --by method --by grid_size
  mixmask-runs prune --state failed --state died

Exit status: 0 done, 1 failed, 2 wrong input, 128 + signal. docs/runs.md says more.
"""


def main() -> None:
    """Entry point."""
    args = _parse(sys.argv[1:])
    for stream in (sys.stdout, sys.stderr):
        if hasattr(stream, "reconfigure"):  # names of files need not be UTF-8
            stream.reconfigure(errors="surrogateescape")
    with one_line(f"{COMMAND} {args.command}"):
        args.run(args)


def _parse(arguments: Sequence[str]) -> argparse.Namespace:
    about = "Lists runs, finds the best, compares and removes them; live ones included."
    raw = argparse.RawDescriptionHelpFormatter
    parser = Parser(prog=COMMAND, description=about, epilog=EPILOG, formatter_class=raw)
    all_ = "ls|best|show|diff|compare|prune"
    commands = parser.add_subparsers(dest="command", required=True, metavar=all_)
    _add_many(commands)
    _add_few(commands)
    return parser.parse_args(arguments)


def _add_many(commands: Any) -> None:
    """Those that take any number of runs."""
    words = Parser(add_help=False)
    words.add_argument("overrides", nargs="*", metavar="ROOT|FILTER", help="see mixmask-runs -h")
    written = Parser(add_help=False)
    form = written.add_mutually_exclusive_group()
    form.add_argument("--json", action="store_true", help="all values, epochs counted from 0")
    form.add_argument("--csv", action="store_true", help="the same, a run a line")
    every = Parser(add_help=False)
    every.add_argument("--all", action="store_true", help="not completed runs alone")

    ls = commands.add_parser("ls", help="one line a run, newest first", parents=[words, written])
    ls.add_argument("--sort", metavar="KEY", help="lowest first; runs without it come last")
    ls.add_argument("--reverse", action="store_true", help="the other way round")
    ls.add_argument("--columns", type=_names, metavar="KEY,...", help="these instead")
    ls.add_argument("--add", type=_names, metavar="KEY,...", default=[], help="these, too")
    ls.add_argument("--limit", type=at_least(1), metavar="N", help="the first N alone")
    ls.set_defaults(run=_ls)

    top = commands.add_parser("best", help="the best by a metric", parents=[words, written, every])
    top.usage = "mixmask-runs best [KEY] [ROOT|FILTER ...] [options]   (KEY: a metric, default knn)"
    top.add_argument("--by", action="append", default=[], metavar="KEY", help="of each value")
    help_ = "the lowest value (so it is of losses, errors, times without being asked)"
    top.add_argument("--lowest", action="store_true", help=help_)
    top.add_argument("--path", action="store_true", help="print the folder alone")
    top.set_defaults(run=_best)

    help_ = "mean and deviation over seeds"
    many = commands.add_parser("compare", help=help_, parents=[words, written, every])
    many.add_argument("--by", action="append", required=True, metavar="KEY", help="a group a value")
    help_ = f"default: {', '.join(METRICS)}"
    many.add_argument("--metric", action="append", metavar="KEY", help=help_)
    many.set_defaults(run=_compare)

    gone = commands.add_parser("prune", help="remove runs or checkpoints", parents=[words])
    gone.add_argument("--state", action="append", default=[], choices=STATES[1:], help="or another")
    gone.add_argument("--checkpoints", action="store_true", help="but the last, and nothing else")
    gone.add_argument("--yes", action="store_true", help="do not ask")
    gone.set_defaults(run=prune)


def _add_few(commands: Any) -> None:
    """Those that take one run, or two."""
    show = commands.add_parser("show", help="all about one run")
    show.add_argument("folder", type=Path, metavar="RUN")
    show.add_argument("--json", action="store_true", help="what result.json holds, and more")
    show.set_defaults(run=_show)

    diff = commands.add_parser("diff", help="in what two runs differ")
    diff.add_argument("a", type=Path, metavar="A")
    diff.add_argument("b", type=Path, metavar="B")
    diff.add_argument("--all", action="store_true", help="also keys without effect on training")
    diff.add_argument("--json", action="store_true")
    diff.set_defaults(run=_diff)


def _names(text: str) -> list[str]:
    return [name.strip() for name in text.split(",") if name.strip()]


def _ls(args: argparse.Namespace) -> None:
    found = asked(args.overrides)
    written = args.json or args.csv
    chosen = args.columns or [*(WRITTEN if written else SHOWN), *args.add]
    keys = found.names.keys(dict.fromkeys(chosen))
    newest = found.names.key("date")
    rows = ordered(found.rows, newest, reverse=True)
    if args.sort:
        rows = ordered(rows, found.names.key(args.sort), reverse=args.reverse)
    elif args.reverse:
        rows = rows[::-1]
    shown = rows[: args.limit]
    if written:
        return _print(args, shown, keys)
    if not rows:
        print("no run matches")
        return None
    kept = args.columns or args.add
    print(table(shown, keys, _width(), kept))
    print(summary(rows, len(shown), found.names))
    return None


def _best(args: argparse.Namespace) -> None:
    words = list(args.overrides)
    plain = [word for word in words if parse_filter(word) is None and "/" not in word]
    metric = next((word for word in plain if not Path(word).is_dir()), None)
    if metric:
        words.remove(metric)
    found = asked(words)
    key, by = found.names.key(metric or "knn"), found.names.keys(args.by)
    rows = found.rows if args.all else completed(found)
    lowest = args.lowest or lower_is_better(key.name)
    top = [row for rows in group(rows, by).values() for row in best(rows, key, lowest=lowest)]
    if not top:
        which = "run" if args.all else "completed run"
        raise ConfigError(f"no {which} that was asked for has {key.name}")
    written = args.json or args.csv
    more = ["knn_kind"] if key.name == "knn" and written else []
    more += ["state"] if args.all else []
    keys = [key, *by, *found.names.keys([*more, "folder"])]
    if args.path:
        print("\n".join(str(row.folder) for row in top))
    elif written:
        _print(args, top, keys)
    else:
        print(table(top, keys))


def _show(args: argparse.Namespace) -> None:
    run = read_run(args.folder)
    if args.json:
        told = {"folder": str(run.folder), "state": run.state(), "checkpoints": saved(run)}
        print(json.dumps({**told, **run.result}, indent=2))
    else:
        with _readable(run):
            print(card(run))


def _diff(args: argparse.Namespace) -> None:
    a, b = read_run(args.a), read_run(args.b)
    if args.a.resolve() == args.b.resolve():
        raise ConfigError(f"{args.a} and {args.b} are the same run: give two")
    if args.json:
        with _readable(a, b):
            found, metrics = differing(a, b, everything=args.all), [measured(a), measured(b)]
        config = {key: {"a": old, "b": new} for key, old, new in found}
        told = {"a": str(a.folder), "b": str(b.folder), "config": config}
        print(json.dumps({**told, "metrics": dict(zip("ab", metrics, strict=True))}, indent=2))
    else:
        with _readable(a, b):
            print(comparison(a, b, everything=args.all))


def _compare(args: argparse.Namespace) -> None:
    found = asked(args.overrides)
    rows = found.rows if args.all else completed(found)
    by, metrics = found.names.keys(args.by), found.names.keys(args.metric or METRICS)
    groups = group(rows, by)
    if not groups:
        raise ConfigError("no completed run was asked for: --all takes the others, too")
    for line in warnings(groups, metrics):
        complain(COMMAND, line)
    lines = spread_lines(groups, by, metrics)
    if args.json:
        print(json.dumps(lines, indent=2))
    elif args.csv:
        print(as_csv(lines, list(lines[0])))
    else:
        print(spread_table(groups, by, metrics))


@contextmanager
def _readable(*shown: RunRecord) -> Iterator[None]:
    """A record may be whole JSON and yet hold text where the schema has a number."""
    try:
        yield
    except (AttributeError, KeyError, TypeError, ValueError) as error:
        names = listing([run.folder / RESULT for run in shown])
        raise ConfigError(f"{names} is not as docs/results.md says: {error}") from error


def _print(args: argparse.Namespace, rows: Sequence[Row], keys: Sequence[Key]) -> None:
    lines = [{key.name: key.get(row) for key in keys} for row in rows]
    names = [key.name for key in keys]
    print(json.dumps(lines, indent=2) if args.json else as_csv(lines, names))


def _width() -> int | None:
    """Of the terminal; none of a file, which gets everything but where COLUMNS says otherwise."""
    asked_for = sys.stdout.isatty() or os.environ.get("COLUMNS", "").isdigit()
    return shutil.get_terminal_size().columns if asked_for else None


if __name__ == "__main__":
    main()

# SPDX-License-Identifier: MIT
"""``mixmask-runs prune``: shows what would go, asks, removes."""

import argparse
import sys

from rich.filesize import decimal

from mixmask_solo.cli.ending import complain
from mixmask_solo.cli.runs_asked import COMMAND, asked
from mixmask_solo.config import ConfigError
from mixmask_solo.records.registry.filters import parse_filter
from mixmask_solo.records.registry.prune import (
    remove_checkpoints,
    remove_run,
    size,
    spare_checkpoints,
)
from mixmask_solo.report import columns


def prune(args: argparse.Namespace) -> None:
    """Removes the runs that were asked for, none that is running.

    Raises:
        ConfigError: where neither a filter nor a state says which, or nobody can be asked.
    """
    if not args.state and all(parse_filter(word) is None for word in args.overrides):
        raise ConfigError("say which runs: give a filter (epochs<2) or --state failed")
    found = asked(args.overrides)
    states = {row: found.names.state(row) for row in found.rows}
    rows = [r for r in found.rows if not args.state or states[r] in args.state]
    rows = [r for r in rows if states[r] != "running"]
    sizes = {
        row: sum(p.stat().st_size for p in spare_checkpoints(row.folder))
        if args.checkpoints
        else size(row.folder)
        for row in rows
    }
    sizes = {row: bytes_ for row, bytes_ in sizes.items() if bytes_}
    what = "the earlier checkpoints of " if args.checkpoints else ""
    if not sizes:
        print(f"nothing to remove: no run that is not running matches{what and ' and has any'}")
        return
    lines = [(states[row], decimal(n), str(row.folder)) for row, n in sizes.items()]
    print(columns(lines, right=(1,)))
    many = f"{what}{len(sizes):,} run{'s' * (len(sizes) != 1)}"
    total = decimal(sum(sizes.values()))
    if not args.yes and not _agreed(f"remove {many}, {total}? [y/N] "):
        print("nothing was removed")
        return
    remove = remove_checkpoints if args.checkpoints else remove_run
    free = done = 0
    for row in sizes:
        try:
            free += remove(row, found.roots)
            done += 1
        except ConfigError as error:
            complain(COMMAND, str(error))
    print(f"removed {what}{done:,} run{'s' * (done != 1)}, {decimal(free)}")


def _agreed(question: str) -> bool:
    if not sys.stdin.isatty():
        raise ConfigError("nobody can be asked here: --yes removes what is listed")
    try:
        return input(question).strip().lower() in ("y", "yes")
    except EOFError:
        return False

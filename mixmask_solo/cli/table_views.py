# SPDX-License-Identifier: MIT
"""What ``mixmask-tables`` runs and shows."""

import sys
from collections.abc import Sequence

from mixmask_solo.cli.table_asked import COMMAND, Asked, left_out, planned, runs_of
from mixmask_solo.cli.table_jobs import submit_missing
from mixmask_solo.cli.table_run import LocalRuns
from mixmask_solo.config import ConfigError
from mixmask_solo.config.files import replacing
from mixmask_solo.jobs.options import read_options
from mixmask_solo.report import columns
from mixmask_solo.report.table_formats import FORMATS
from mixmask_solo.tables.absent import without_images
from mixmask_solo.tables.compare import lines
from mixmask_solo.tables.match import Runs
from mixmask_solo.tables.missing import missing
from mixmask_solo.tables.training import Training, in_common


def run(asked: Asked) -> int:
    """Does what is missing."""
    args = asked.args
    if args.slurm is None:
        if args.dry_run or args.wait:
            raise ConfigError("--dry-run and --wait are for --slurm FILE; `plan` shows the runs")
        chosen = _runnable(asked)
        args.runs.mkdir(parents=True, exist_ok=True)
        local = LocalRuns(COMMAND, args.runs, lambda: runs_of(asked))
        code = local.run(chosen)
        print(_counted(asked, chosen, local.started))
        return code
    options = read_options(args.slurm, [])
    processes = options.nodes * options.processes
    chosen = _runnable(asked, processes)
    left = missing(chosen, runs_of(asked))
    if not left:
        print(_counted(asked, chosen, 0))
        return 0
    return submit_missing(
        asked.sheet.name,
        left,
        options,
        runs=args.runs.absolute(),
        root=args.folder,
        dry_run=args.dry_run,
        wait=args.wait,
    )


def _runnable(asked: Asked, processes: int | None = None) -> list[Training]:
    """The trainings, with a line on cells that cannot be run here.

    Raises:
        ConfigError: where none can, for the first one's reason.
    """
    wrong: dict[str, str] = {}
    chosen = planned(asked, processes=processes, wrong=wrong)
    left = missing(chosen, runs_of(asked))
    if processes is None:
        wrong |= without_images(left, take_off=True)
        chosen = [training for training in chosen if training.evaluations]
    else:  # what is missing here may be there where the jobs run
        for line in left_out(asked, without_images(left, take_off=False)):
            told = line.removeprefix("left out ")
            print(f"{COMMAND}: seen from here, {told}", file=sys.stderr)
    if wrong and not chosen:
        cell, reason = next(iter(wrong.items()))
        raise ConfigError(f"cell {cell}: {reason}")
    for line in left_out(asked, wrong):
        print(f"{COMMAND}: {line}", file=sys.stderr)
    return chosen


def _counted(asked: Asked, chosen: Sequence[Training], started: int) -> str:
    left = missing(chosen, runs_of(asked))
    done = len(chosen) - len(left)
    return f"{asked.sheet.name}: {done} of {len(chosen)} runs done and measured; {started} started"


def status(asked: Asked) -> int:
    """Prints where each run stands."""
    wrong: dict[str, str] = {}
    chosen, runs = planned(asked, wrong=wrong), runs_of(asked)
    common = in_common(chosen)
    rows = [("run", "state", "epoch", "measured", "folder")]
    for training in chosen:
        found = next(iter(runs.of(training, seed=training.seed)), None)
        if found is None:
            rows.append((training.labelled(common), "not begun", "-", "-", "-"))
            continue
        result = found.record.result
        epoch = f"{result.get('epochs', 0)}/{training.identity['max_epochs']}"
        done = sum(found.measured(evaluation) for evaluation in training.evaluations)
        measured = f"{done}/{len(training.evaluations)}"
        where = str(found.record.folder)
        rows.append((training.labelled(common), found.record.state(), epoch, measured, where))
    print(columns(rows, right=(2, 3)))
    for line in left_out(asked, wrong):
        print(line)
    _tell_passed_over(runs)
    return 0


def show(asked: Asked) -> int:
    """Prints or writes paper and ours."""
    args = asked.args
    wrong: dict[str, str] = {}
    chosen = planned(asked, seeds=[0], wrong=wrong)
    runs = runs_of(asked)
    found = lines(asked.cells, chosen, runs, wrong)
    if not any(line.states for line in found):
        print(f"{COMMAND}: no run below {args.runs} is one of these cells", file=sys.stderr)
    _tell_passed_over(runs)
    text = FORMATS[args.format](asked.sheet, found, args.scale)
    if args.out is None:
        print(text)
    else:
        args.out.parent.mkdir(parents=True, exist_ok=True)
        with replacing(args.out) as temporary:
            temporary.write_text(text + "\n", "utf-8")
        print(f"wrote {args.out}")
    return 0


def _tell_passed_over(runs: Runs) -> None:
    for folder, reason in runs.left_out.items():
        print(f"{COMMAND}: {folder} is no run of a cell: {reason}", file=sys.stderr)

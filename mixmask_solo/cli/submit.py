# SPDX-License-Identifier: MIT
"""``mixmask-submit``: our commands as jobs of a Slurm cluster."""

import argparse
import shutil
import sys
from collections.abc import Sequence
from dataclasses import asdict
from pathlib import Path

from mixmask_solo.cli import jobs as told
from mixmask_solo.cli.ending import fail, one_line
from mixmask_solo.cli.job_plan import Work, plan, tasks
from mixmask_solo.cli.local_jobs import run_locally
from mixmask_solo.cli.parser import Parser
from mixmask_solo.config import ConfigError
from mixmask_solo.jobs import batch, queue
from mixmask_solo.jobs.options import SlurmOptions, read_options
from mixmask_solo.jobs.records import Submission

COMMAND = "mixmask-submit"
USAGE = """
mixmask-submit [--slurm FILE] [key=value ...] -- COMMAND [ARGUMENT ...]
mixmask-submit status [JOB] | logs JOB | cancel JOB

Submits one of our commands to Slurm. Keys with several values, as in seed=0,1,2, become an array.
FILE holds what the cluster wants to know (examples in scripts/slurm, keys in docs/clusters.md);
key=value arguments before the -- come on top. Devices, nodes and processes follow from them.

  mixmask-submit --slurm site.yaml time=12:00:00 gpus_per_node=4 -- \\
      mixmask-pretrain --config-path scripts/pretrain/cifar --config-name byol_mixmask seed=0,1,2

A run stops before its time limit, saves, and goes on in the same folder with the next batch.
"""


def _parser() -> argparse.ArgumentParser:
    parser = Parser(COMMAND, usage=USAGE.strip().replace("%", "%%"), add_help=True)
    add = parser.add_argument
    add("--slurm", type=Path, metavar="FILE", help="YAML file of the cluster's keys")
    add("--folder", type=Path, default=Path("jobs"), help="where jobs are kept (default: jobs)")
    add("--name", help="of the job; made of the command when left out")
    add(
        "--then",
        action="append",
        default=[],
        metavar="COMMAND",
        help="another of our commands once the first is completed, in quotes; {checkpoint} and "
        "{run} stand for what the first wrote; keys of its own as in 'time=1:00:00 -- COMMAND'",
    )
    add("--dry-run", action="store_true", help="print batch scripts and jobs, submit nothing")
    add("--local", action="store_true", help="run the jobs here, one after another")
    add("--wait", action="store_true", help="stay until all have ended, showing their states")
    add("keys", nargs="*", metavar="key=value", help="what a job asks Slurm for")
    return parser


def main() -> None:
    """Entry point; status 0 submitted (with --wait: all completed), 1 failed, 2 wrong input."""
    arguments = sys.argv[1:]
    with one_line(COMMAND):
        if arguments[:1] and arguments[0] in told.COMMANDS:
            raise SystemExit(told.main(COMMAND, arguments))
        own, command = _split(arguments)
        if not arguments:
            own = ["--help"]
        args = _parser().parse_intermixed_args(own)
        if not command:
            fail(COMMAND, "there is no command: give it after -- (see --help)")
        raise SystemExit(_submit(args, command))


def _split(arguments: Sequence[str]) -> tuple[list[str], list[str]]:
    """What stands before the first ``--``, and behind it."""
    if "--" not in arguments:
        return list(arguments), []
    at = list(arguments).index("--")
    return list(arguments[:at]), list(arguments[at + 1 :])


def _submit(args: argparse.Namespace, command: Sequence[str]) -> int:
    options = read_options(args.slurm, args.keys)
    if args.local and options.nodes > 1:
        fail(COMMAND, f"nodes is {options.nodes}, but --local is this machine alone: leave it out")
    work = plan(options, command, args.then, args.name)
    folder = told.new_folder(args.folder, work[0].name)
    if args.dry_run:
        return told.dry_run(folder, work)
    submission = submit_work(folder, options, work, local=args.local)
    if args.local:
        return run_locally(COMMAND, submission, work)
    return told.wait(submission) if args.wait else 0


def submit_work(
    folder: Path, options: SlurmOptions, work: Sequence[Work], *, local: bool = False
) -> Submission:
    """Makes the submission's folder and hands all to Slurm, unless it is run ``local``-ly.

    Raises ConfigError where Slurm refuses; no folder is left then.
    """
    jobs = [job for part in work for job in part.jobs]
    submission = Submission(folder, work[0].name, jobs, asdict(options), local=local)
    folder.mkdir(parents=True)
    try:
        submission.save()
        if not local:
            _hand_over(submission, work)
    except (ConfigError, OSError):
        if not any(job.id for job in jobs):
            shutil.rmtree(folder)
        raise
    told.submitted(COMMAND, submission)
    return submission


def _hand_over(submission: Submission, work: Sequence[Work]) -> None:
    """Gives all to Slurm; where it does not take a later part, takes the earlier ones back."""
    first: list[str] = []
    try:
        for part in work:
            after = None
            if part.after:
                number = first[0].partition("_")[0]
                after = f"aftercorr:{number}" if len(part.jobs) > 1 else f"afterok:{first[0]}"
            made = tasks(submission.folder, part)
            found = batch.submit(part.options, submission.folder, part.name, made, after)
            for job, number in zip(part.jobs, found, strict=True):
                job.id = number
            submission.save()
            first = first or found
    except ConfigError:
        given = sorted({job.id.partition("_")[0] for job in submission.jobs if job.id})
        if given:
            queue.cancel(given)
        for job in submission.jobs:
            job.id = ""
        raise


if __name__ == "__main__":
    main()

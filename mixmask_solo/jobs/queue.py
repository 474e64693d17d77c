# SPDX-License-Identifier: MIT
"""What Slurm says of jobs, in words; and what it is told."""

import subprocess
from collections.abc import Collection, Sequence
from typing import NamedTuple

from mixmask_solo.config import ConfigError

_REASONS = {
    "Resources": "for free nodes",
    "Priority": "behind jobs of higher priority",
    "Dependency": "for the job before it",
    "DependencyNeverSatisfied": "for ever: the job before it failed; cancel it",
    "BeginTime": "to be started again in a moment",
    "JobArrayTaskLimit": "for others of its array (array_parallelism)",
    "PartitionTimeLimit": "for ever: time is above the partition's limit",
    "PartitionNodeLimit": "for ever: nodes or cpus are more than the partition gives",
    "ReqNodeNotAvail": "for a node that is down, drained or reserved",
    "PartitionConfig": "for ever: it asks for what the partition does not have",
    "PartitionDown": "for the partition, which is down",
    "PartitionInactive": "for the partition, which is inactive",
    "JobHeldUser": "held by you: scontrol release",
    "JobHeldAdmin": "held by an administrator",
    "launch failed requeued held": "held, since it could not be started: scontrol release",
}


class Queued(NamedTuple):
    """A job that Slurm still has.

    ``state`` is Slurm's, such as PENDING; ``why`` says in words what a pending one waits for.
    """

    state: str
    why: str


def queued(ids: Collection[str]) -> dict[str, Queued]:
    """The jobs of these numbers that Slurm still has; where there is no Slurm, none.

    Raises:
        ConfigError: where Slurm does not answer.
    """
    numbers = sorted({number.partition("_")[0] for number in ids if number})
    if not numbers:
        return {}
    # one job that is gone makes squeue fail; asked for two or more it tells of the others
    asked = ",".join(numbers if len(numbers) > 1 else numbers * 2)
    try:
        out = _call(["squeue", "--noheader", "--array", "--jobs", asked, "--format", "%i|%T|%r"])
    except FileNotFoundError:
        return {}
    except subprocess.CalledProcessError as error:
        if "Invalid job id" in error.stderr:
            return {}
        raise _silent(error.stderr) from None
    except subprocess.TimeoutExpired:
        raise _silent("no answer in two minutes") from None
    lines = (line.split("|") for line in out.splitlines())
    found = {line[0]: Queued(line[1], _in_words(line[2])) for line in lines if len(line) == 3}
    return {number: job for number, job in found.items() if number in ids}


def _silent(what: str) -> ConfigError:
    return ConfigError(f"Slurm does not tell how jobs stand ({' '.join(what.split())}): try again")


def cancel(ids: Sequence[str]) -> None:
    """Ends jobs; raises ConfigError with what Slurm says."""
    try:
        _call(["scancel", *ids])
    except FileNotFoundError:
        raise ConfigError("there is no scancel here: cancel from a login node") from None
    except subprocess.TimeoutExpired:
        raise ConfigError("scancel does not answer: try again") from None
    except subprocess.CalledProcessError as error:
        raise ConfigError(f"Slurm does not cancel: {' '.join(error.stderr.split())}") from None


def _in_words(reason: str) -> str:
    if reason.startswith(("QOS", "Assoc")):
        return f"for a limit of the account or quality of service ({reason})"
    known = _REASONS.get(reason.partition(",")[0])
    return known or ("" if reason == "None" else reason)


def _call(command: Sequence[str]) -> str:
    done = subprocess.run(command, capture_output=True, text=True, check=True, timeout=120)
    return done.stdout

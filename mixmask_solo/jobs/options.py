# SPDX-License-Identifier: MIT
"""What a job asks Slurm for: a file of the user's, and keys on the command line."""

import re
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import yaml

from mixmask_solo.config import ConfigError, check, option

_TIME = re.compile(r"\d+|\d+:\d\d|\d+:\d\d:\d\d|\d+-\d+(:\d\d){0,2}")


@dataclass
class SlurmOptions:
    """Keys of a job; what is null is left to the cluster.

    Args:
        time: limit as ``sbatch`` reads it, such as ``2-12:00:00``; a bare number is minutes.
        gpus_per_node: each has a process of its own; 0 trains on the CPU.
        gpu_type: as in ``a100``.
        gpu_request: how the cluster wants GPUs to be asked for.
        tasks_per_node: processes a node where there are no GPUs.
        cpus_per_task: for each process, its loading workers included.
        mem_gb: a node.
        array_parallelism: jobs of an array that run at once.
        setup: lines of the batch script before the command, such as ``module load``.
        container: what the command is put behind, such as ``apptainer exec --nv FILE``.
        python: the interpreter, on the nodes or in the container; null is this one.
        directives: further options of ``sbatch``, without the dashes; true is one without value.
        srun_args: further arguments of ``srun``.
        signal_lead: seconds before the time limit at which Slurm signals the run at the latest.
        max_requeues: how often a job may start again after time limits, preemption, lost nodes.
        requeue_lost: whether it also does when one of its processes was killed or did not answer.
    """

    partition: str | None = None
    account: str | None = None
    qos: str | None = None
    constraint: str | None = None
    time: str | None = None
    nodes: int = option(1, low=1)
    gpus_per_node: int = option(1, low=0)
    gpu_type: str | None = None
    gpu_request: str = option("gpus-per-node", choices=("gpus-per-node", "gres"))
    tasks_per_node: int = option(1, low=1)
    cpus_per_task: int = option(4, low=1)
    mem_gb: float | None = option(None, above=0.0)
    exclude: str | None = None
    nodelist: str | None = None
    array_parallelism: int | None = option(None, low=1)
    mail_user: str | None = None
    mail_type: str | None = None
    setup: list[str] = option([])
    container: str | None = None
    python: str | None = None
    directives: dict[str, Any] = option({})
    srun_args: list[str] = option([])
    signal_lead: int = option(120, low=10)
    max_requeues: int = option(20, low=0)
    requeue_lost: bool = False

    def validate(self, prefix: str) -> None:
        """Cross-checks; raises ConfigError."""
        if self.time is not None and not _TIME.fullmatch(self.time):
            raise ConfigError(
                f"time is {self.time!r}: give minutes, hours:minutes:seconds or "
                "days-hours:minutes:seconds, such as 2-12:00:00"
            )
        if self.time is not None and _seconds(self.time) <= self.signal_lead:
            raise ConfigError(
                f"time is {self.time!r}, but signal_lead is {self.signal_lead} seconds: a run "
                "would be told to stop at its start; give more time or a smaller signal_lead"
            )
        for key in self.directives:
            if not isinstance(key, str):
                raise ConfigError(f"directives has the key {key!r}: give names of sbatch's options")
        if self.gpus_per_node and self.tasks_per_node not in (1, self.gpus_per_node):
            raise ConfigError(
                f"tasks_per_node is {self.tasks_per_node}, but gpus_per_node is "
                f"{self.gpus_per_node}: each GPU has one process; leave tasks_per_node out"
            )

    @property
    def processes(self) -> int:
        """Processes a node."""
        return self.gpus_per_node or self.tasks_per_node


def _seconds(time: str) -> int:
    """Of a limit that `_TIME` matches."""
    days, dash, rest = time.rpartition("-")
    parts = [int(part) for part in rest.split(":")]
    if dash:  # days-hours[:minutes[:seconds]]
        hours, minutes, seconds = [*parts, 0, 0][:3]
        return ((int(days) * 24 + hours) * 60 + minutes) * 60 + seconds
    if len(parts) < 3:  # minutes[:seconds]
        minutes, seconds = [*parts, 0][:2]
        return minutes * 60 + seconds
    return (parts[0] * 60 + parts[1]) * 60 + parts[2]


def read_options(file: Path | None, overrides: Sequence[str]) -> SlurmOptions:
    """The keys of a YAML file, then those of ``key=value`` arguments.

    Raises:
        ConfigError: for a file that cannot be read, an unknown key or a wrong value.
    """
    values: Any = {} if file is None else _load_file(file)
    if not isinstance(values, dict):
        raise ConfigError(f"{file} is no block of keys: write lines such as 'partition: gpu'")
    return _with(values, overrides)


def read_overrides(options: SlurmOptions, overrides: Sequence[str]) -> SlurmOptions:
    """``options`` with some keys of others; raises ConfigError as `read_options`."""
    return _with(asdict(options), overrides)


def _with(values: dict[str, Any], overrides: Sequence[str]) -> SlurmOptions:
    for override in overrides:
        key, equals, text = override.partition("=")
        if not equals or not key:
            raise ConfigError(
                f"'{override}' is no key=value; the command to submit comes after -- (see --help)"
            )
        block, dot, name = key.partition(".")
        value = _load(text, f"{key}={text}")
        if dot:
            inner = values.get(block)
            values[block] = {**(inner if isinstance(inner, dict) else {}), name: value}
        else:
            values[key] = value
    return check(values, SlurmOptions, "")


class _Loader(yaml.SafeLoader):
    """Reads 24:00:00 as text, which YAML 1.1 takes for a number in base 60."""


_Loader.yaml_implicit_resolvers = {
    first: [(tag, pattern) for tag, pattern in found if not tag.endswith((":int", ":float"))]
    for first, found in yaml.SafeLoader.yaml_implicit_resolvers.items()
}
_Loader.add_implicit_resolver(
    "tag:yaml.org,2002:int", re.compile(r"[-+]?\d+$"), list("-+0123456789")
)
_Loader.add_implicit_resolver(
    "tag:yaml.org,2002:float", re.compile(r"[-+]?\d+\.\d*$"), list("-+0123456789")
)


def _load_file(file: Path) -> Any:
    try:
        return _load(file.read_text("utf-8"), str(file)) or {}
    except OSError as error:
        raise ConfigError(f"--slurm {file}: {error.strerror}") from None
    except UnicodeDecodeError:
        raise ConfigError(f"--slurm {file} is no UTF-8 text: save it in UTF-8") from None


def _load(text: str, where: str) -> Any:
    try:
        return yaml.load(text, _Loader)
    except yaml.YAMLError as error:
        raise ConfigError(f"{where} is no YAML: {' '.join(str(error).split())}") from None

# SPDX-License-Identifier: MIT
"""The batch script, and its way to Slurm, by submitit."""

import os
import shlex
import sys
import warnings
from collections.abc import Sequence
from contextlib import redirect_stderr
from io import StringIO
from pathlib import Path
from typing import Any

from mixmask_solo.config import ConfigError
from mixmask_solo.jobs.options import SlurmOptions
from mixmask_solo.jobs.task import Task
from mixmask_solo.jobs.variables import DEADLINE

# The end of this attempt, in seconds since 1970, whatever zone a container is in; not asked for by
# each task. An array's job goes by the array's name: for one of them the number alone is also that
# of the whole array.
_SETUP = (
    'job="${SLURM_ARRAY_JOB_ID:-$SLURM_JOB_ID}${SLURM_ARRAY_TASK_ID:+_$SLURM_ARRAY_TASK_ID}"',
    'end="$(SLURM_TIME_FORMAT=standard squeue -h -j "$job" -o %e)"',
    f'export {DEADLINE}="$(date -d "$end" +%s 2> /dev/null)"',
)
# Here and not in a task: all of them are done, and the nodes' own scontrol is at hand.
# A job that leaves within its grace time when it is preempted counts as ended to Slurm.
_TEARDOWN = """status=$?
preempted=$(scontrol show job "$job" | grep -c 'PreemptTime=[0-9]')
if [ "$status" -ne 0 ] && [ "$status" -ne 2 ] && [ "$preempted" -ne 0 ]; then
    [ "${{SLURM_RESTART_COUNT:-0}}" -lt {times} ] && touch {folder}/"requeue-$job"
fi
if [ -e {folder}/"requeue-$job" ]; then
    rm -f {folder}/"requeue-$job"
    scontrol requeue "$job"
fi
exit $status"""


def parameters(options: SlurmOptions, folder: Path, name: str, after: str | None) -> dict[str, Any]:
    """What submitit's executor for Slurm is told.

    ``after``: number of a job (or array, one by one) that has to be completed first.
    """
    o, gpus = options, options.gpus_per_node
    gpu = f"{o.gpu_type}:{gpus}" if o.gpu_type else gpus
    given = {
        # Lightning takes jobs of two names for a shell, where no processes belong together.
        "job_name": f"mixmask-{name}" if name in ("bash", "interactive") else name,
        **{key: getattr(o, key) for key in ("partition", "account", "qos", "constraint")},
        **{key: getattr(o, key) for key in ("exclude", "nodelist", "mail_user", "mail_type")},
        "time": o.time,
        "nodes": o.nodes,
        "ntasks_per_node": o.processes,
        "cpus_per_task": o.cpus_per_task,
        "gpus_per_node": gpu if gpus and o.gpu_request == "gpus-per-node" else None,
        "gres": f"gpu:{gpu}" if gpus and o.gpu_request == "gres" else None,
        "mem": None if o.mem_gb is None else f"{max(1, round(1024 * o.mem_gb))}M",
        "array_parallelism": o.array_parallelism or 1_000_000,
        "dependency": after,
        "wckey": None,
        "stderr_to_stdout": True,
        "setup": [*o.setup, *_SETUP],
        "teardown": _TEARDOWN.format(
            folder=shlex.quote(str(folder)), times=o.max_requeues
        ).splitlines(),
        # One process that ends badly ends the others, which would wait for it; and since Slurm 22
        # srun does not know what the job asked for by itself.
        "srun_args": ["--kill-on-bad-exit=1", f"--cpus-per-task={o.cpus_per_task}", *o.srun_args],
        "additional_parameters": {
            "signal": f"USR1@{o.signal_lead}",
            "requeue": True,
            **({"kill-on-invalid-dep": "yes"} if after else {}),
            **{k: v for k, v in o.directives.items() if v is not None and v is not False},
        },
    }
    own = ("time", "wckey")  # submitit has defaults for them
    return {key: value for key, value in given.items() if value is not None or key in own}


def python(options: SlurmOptions) -> str:
    """How the nodes start Python, as a shell reads it."""
    own = options.python or shlex.quote(sys.executable)
    return f"{options.container} {own}" if options.container else own


def script(options: SlurmOptions, folder: Path, name: str, jobs: int, after: str | None) -> str:
    """The batch script that `submit` would hand over."""
    slurm = _submitit().slurm.slurm
    given = parameters(options, folder, name, after) | ({"map_count": jobs} if jobs > 1 else {})
    command = f"{python(options)} -u -m submitit.core._submit {shlex.quote(str(folder))}"
    text: str = slurm._make_sbatch_string(command=command, folder=folder, **given)
    return text


def submit(
    options: SlurmOptions, folder: Path, name: str, tasks: Sequence[Task], after: str | None = None
) -> list[str]:
    """Hands tasks to Slurm by one call of ``sbatch``; more than one are an array.

    Returns their numbers in Slurm, such as ``12`` or ``12_0``.

    Raises:
        ConfigError: where there is no Slurm, or it refuses, with what it says.
    """
    submitit = _submitit()
    try:
        executor = submitit.SlurmExecutor(folder, max_num_timeout=0, python=python(options))
    except RuntimeError:
        raise ConfigError(
            "there is no srun here: submit from a login node of a Slurm cluster, or use --local"
        ) from None
    executor.update_parameters(**parameters(options, folder, name, after))
    try:
        with redirect_stderr(StringIO()):  # submitit repeats what sbatch says, and so do we
            return [job.job_id for job in executor.submit_array(tasks)]
    except FileNotFoundError as error:
        raise ConfigError(f"there is no {error.filename} here: is Slurm installed whole?") from None
    except submitit.core.utils.FailedSubmissionError as error:
        raise RuntimeError(f"sbatch answers otherwise than Slurm's: {error}") from error
    except submitit.core.utils.FailedJobError as error:
        raise ConfigError(f"Slurm refuses the job: {_said(str(error))}") from None


def run_here(folder: Path, task: Task, options: SlurmOptions) -> Any:
    """Starts a task on this machine, without a limit of time; returns submitit's job.

    The task starts further processes by itself, where there are to be several.
    """
    submitit = _submitit()
    setup, visible = list(options.setup), os.environ.get("CUDA_VISIBLE_DEVICES")
    if visible is not None:  # submitit would count from the first one of the machine
        own = ",".join(visible.split(",")[: options.gpus_per_node])
        setup.insert(0, f"export CUDA_VISIBLE_DEVICES={shlex.quote(own)}")
    executor = submitit.LocalExecutor(folder, max_num_timeout=0)
    executor.update_parameters(
        timeout_min=60 * 24 * 365,
        stderr_to_stdout=True,
        gpus_per_node=options.gpus_per_node,
        setup=setup,
    )
    return executor.submit(task)


def _said(text: str) -> str:
    """The lines of Slurm's own commands in an error of submitit's."""
    own = [line.partition("error: ")[2] for line in text.splitlines() if "sbatch: error: " in line]
    return "; ".join(own) or " ".join(text.replace("sbatch: ", "").split())


def _submitit() -> Any:
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            import submitit
    except ModuleNotFoundError:
        raise ConfigError("submitit is not installed: pip install '.[slurm]'") from None
    return submitit

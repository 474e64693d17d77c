# SPDX-License-Identifier: MIT
"""Worker processes: how many, and that they leave signals to the process that started them.

Ctrl-C in a terminal reaches all processes of its group at once, and so does what Slurm sends. The
main process then finishes its batch and saves, which it can only do while its workers live.
"""

import multiprocessing
import os
import re
import signal
import sys
import tempfile
import threading
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from multiprocessing import resource_tracker
from typing import Any, Literal

from torch.utils.data import DataLoader

from mixmask_solo.config import ConfigError

_IGNORED = {signal.Signals[name] for name in ("SIGINT", "SIGUSR1") if hasattr(signal, name)}
_SENT = {signal.SIGTERM, *_IGNORED}
_LOOK_EVERY = 5.0  # seconds
_LONGEST = 107 - len("/pymp-xxxxxxxx/listener-xxxxxxxx")  # of a socket's name Linux takes 107


def core_share(processes: int = 1, environ: Mapping[str, str] = os.environ) -> int:
    """Cores for one training process, at least 1; those of this machine share evenly.

    joblib knows affinity and a container's quota; Slurm may tell by its variables alone.
    """
    import joblib  # takes a tenth of a second

    cores = joblib.cpu_count()
    even = max(1, cores // processes)
    if "SLURM_JOB_ID" not in environ:
        return even
    tasks = _number(environ, "SLURM_NTASKS_PER_NODE") or _number(environ, "SLURM_TASKS_PER_NODE")
    tasks = max(1, tasks)
    granted = _number(environ, "SLURM_CPUS_PER_TASK")
    granted = granted or _number(environ, "SLURM_CPUS_ON_NODE") // tasks
    # each training process is a Slurm task, or all of them were started by the only task
    beside = max(1, processes // tasks)
    if granted and cores <= granted:  # the task is confined to its own cores already
        return max(1, cores // beside)
    return max(1, min(granted // beside, even)) if granted else even


def worker_count(setting: int | Literal["auto"], processes: int = 1, *, on_gpu: bool) -> int:
    """The number of worker processes of one loader, as ``data.num_workers`` sets it.

    ``auto`` is :func:`core_share`; a network on the CPU keeps three quarters of that for itself.
    """
    if setting != "auto":
        return setting
    share = core_share(processes)
    return share if on_gpu else share // 4


def _number(environ: Mapping[str, str], name: str) -> int:
    """The first number of a variable, which may be ``4(x2),3``; 0 without one."""
    found = re.match(r"\d+", environ.get(name, ""))
    return int(found[0]) if found else 0


class Loader(DataLoader[Any]):
    """A loader whose workers outlive signals.

    Raises:
        ConfigError: where they are started and their batches could not be sent.
    """

    def __init__(self, *args: Any, **options: Any) -> None:
        super().__init__(*args, **options)
        self.worker_init_fn = leave_signals

    def __iter__(self) -> Any:
        if self.num_workers == 0 or self._iterator is not None:
            return super().__iter__()
        _require_short_names()
        context = self.multiprocessing_context or multiprocessing
        with _held_back(forked=context.get_start_method() == "fork"):
            return super().__iter__()


def _require_short_names() -> None:
    """Workers hand batches over through sockets in the temporary folder, whose names are bounded.

    Beyond that the loader would wait for ever.
    """
    folder = tempfile.gettempdir()
    if sys.platform == "linux" and len(os.fsencode(folder)) > _LONGEST:
        raise ConfigError(
            f"the temporary folder '{folder}' has a name of more than {_LONGEST} characters, too "
            "long for the sockets of worker processes: set TMPDIR=/tmp or data.num_workers=0"
        )


def leave_signals(worker: int) -> None:
    """Lets the worker process that calls it ignore SIGINT, SIGUSR1, and SIGTERM of strangers.

    ``Process.terminate`` of its parent is a SIGTERM, too. Who sent it is only told to those who
    wait for it, on Linux; elsewhere torch's handler stays, which ends a worker.
    """
    for number in _IGNORED:
        signal.signal(number, signal.SIG_IGN)
    if hasattr(signal, "sigtimedwait"):
        signal.pthread_sigmask(signal.SIG_BLOCK, {signal.SIGTERM})
        threading.Thread(target=_watch, name="watch", daemon=True).start()
        signal.pthread_sigmask(signal.SIG_UNBLOCK, _IGNORED)
    elif hasattr(signal, "pthread_sigmask"):
        signal.pthread_sigmask(signal.SIG_UNBLOCK, _SENT)


def _watch() -> None:
    """Ends the process at a SIGTERM of its parent, and when the parent is gone.

    (For torch's own watch, a server that forks workers is their parent.)
    """
    parent, above = multiprocessing.parent_process(), os.getppid()
    assert parent is not None, "only workers are watched"
    while True:
        told = signal.sigtimedwait({signal.SIGTERM}, _LOOK_EVERY)
        terminated = told is not None and told.si_pid == parent.pid
        if terminated or os.getppid() != above or not parent.is_alive():
            os._exit(0)  # as torch's own handler does: no failure that the parent should report


@contextmanager
def _held_back(*, forked: bool) -> Iterator[None]:
    """Processes started in here begin with the signals blocked, until they are ready for them.

    A server that forks processes stays like this, or it would be lost with the first signal.
    """
    if not hasattr(signal, "pthread_sigmask"):
        yield
        return
    before = signal.pthread_sigmask(signal.SIG_BLOCK, _SENT)
    try:
        if not forked:
            resource_tracker.ensure_running()  # unblocks some of them, if it has to be started
            signal.pthread_sigmask(signal.SIG_BLOCK, _SENT)
        yield
    finally:
        signal.pthread_sigmask(signal.SIG_SETMASK, before)

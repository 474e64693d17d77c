# SPDX-License-Identifier: MIT
"""What can go wrong without a bug, each as one line and an exit status."""

import errno
import os
import re
import shutil
import signal
import sys
from pathlib import Path
from typing import NamedTuple

from mixmask_solo.cli.ranks import lost
from mixmask_solo.config import ConfigError


class Terminated(BaseException):
    """SIGTERM came, where nobody else takes it."""


class Fault(NamedTuple):
    """One way to end; where every process of a training meets it (``shared``), rank zero speaks."""

    line: str
    status: int
    shared: bool = False


_REMEDIES = {
    (errno.ENOSPC, errno.EDQUOT): "what was to be written did not fit; free space or write "
    "elsewhere; what was saved before is kept",
    (errno.EFBIG,): "raise the limit of a file's size (ulimit -f); what was saved before is kept",
    (errno.EROFS,): "it is mounted for reading only; write elsewhere",
    (errno.EACCES, errno.EPERM): "check its permissions, or write elsewhere",
    (errno.ENOENT, errno.ENOTDIR): "was its folder removed, renamed or unmounted meanwhile?",
    (errno.EIO, errno.ESTALE, errno.ENOTCONN): "check the disk, or the network it is reached by",
    (errno.EMFILE, errno.ENFILE): "raise the limit of open files (ulimit -n)",
}
_OF_WRITING = (errno.ENOSPC, errno.EDQUOT, errno.EFBIG, errno.EROFS)
_LOST_WORKER = ("DataLoader worker (pid", "DataLoader timed out")
_WORKER_REMEDIES = {  # by a sign in what PyTorch says; the last one is for all others
    "timed out": ": reading a batch takes too long; raise data.num_workers, check the disk",
    "Bus error|shared memory": "; give the machine more shared memory (/dev/shm), or lower "
    "data.num_workers",
    "": ": most likely the system ended it for want of memory (out-of-memory killer, see dmesg); "
    "lower data.num_workers or give it more memory",
}
_LOST_PEER = (
    *("Connection closed by peer", "Connection reset by peer", "Broken pipe"),
    *("[gloo", "gloo/transport"),
)


def explain(error: BaseException, folder: str | Path | None = None) -> Fault | None:
    """The line for an error that a user or the machine can cause; None for any other.

    ``folder`` is where the command writes, for errors of writing that name no file.
    """
    text = str(error).strip()
    if isinstance(error, KeyboardInterrupt):
        return Fault("interrupted (SIGINT)", 130)
    if isinstance(error, Terminated):
        return Fault("interrupted (SIGTERM)", 128 + signal.SIGTERM)
    if isinstance(error, ConfigError) or _is(error, "mixmask_solo.data", "ImageError"):
        return Fault(_without_stack(error), 2)
    if isinstance(error, OSError):
        return Fault(_of_the_system(error, folder), 1)
    if not isinstance(error, RuntimeError):
        return None
    if text.startswith(_LOST_WORKER):
        remedy = next(told for sign, told in _WORKER_REMEDIES.items() if re.search(sign, text))
        return Fault(text.splitlines()[0].rstrip(". ") + remedy, 1)
    if _is(error, "torch.distributed", "DistError") or any(sign in text for sign in _LOST_PEER):
        how = lost() or "one of them has probably died; its own message, or dmesg, says why"
        first = text.splitlines()[0].partition(". ")[0]
        line = f"the training processes lost each other: {how} ({first})"
        return Fault(line, 1, shared=True)
    cause = error.__context__
    if "inline_container" in text and isinstance(cause, OSError):  # torch.save, closing its file
        return Fault(_of_the_system(cause, folder), 1)
    return None


def _is(error: BaseException, module: str, name: str) -> bool:
    """Whether it is of that class; imports nothing, since an import may be what went wrong."""
    return isinstance(error, getattr(sys.modules.get(module), name, ()))


def _without_stack(error: BaseException) -> str:
    """The message; out of a worker process it comes with that process's stack before it."""
    text = str(error).strip()
    if text.startswith("Caught ") and "worker process" in text:
        text = text.rpartition(f"{type(error).__name__}: ")[2]
    return text


def _of_the_system(error: OSError, folder: str | Path | None) -> str:
    number = error.errno
    reason = os.strerror(number) if number else _without_stack(error)
    of_file = isinstance(error.filename, (str, bytes, os.PathLike))
    place = os.fsdecode(error.filename) if of_file else folder if number in _OF_WRITING else None
    if not place:
        return reason
    remedy = next((f"; {text}" for numbers, text in _REMEDIES.items() if number in numbers), "")
    return f"'{place}': {reason} ({_space(Path(place))}){remedy}"


def _space(place: Path) -> str:
    from rich.filesize import decimal

    existing = next((p for p in (place, *place.absolute().parents) if p.exists()), Path("/"))
    try:
        usage = shutil.disk_usage(existing)
    except OSError as error:
        return f"{existing}: {error.strerror}"
    return f"{decimal(usage.free)} of {decimal(usage.total)} free in {existing}"

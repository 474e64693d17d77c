# SPDX-License-Identifier: MIT
"""What can go wrong without a bug, each as one line and an exit status."""

from __future__ import annotations

import errno
import os
import shutil
import sys
from pathlib import Path
from typing import NamedTuple

from mixmask_solo.cli.ranks import lost

__all__ = ["Fault", "explain"]


class Fault(NamedTuple):
    """One way to end.

    Attributes:
        line: what to print.
        status: exit status.
        shared: every process of a training meets it, so that rank zero speaks for all.
    """

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
_LOST_PEER = ("Connection closed by peer", "Connection reset by peer", "Broken pipe", "[gloo")


def explain(error: BaseException, folder: str | Path | None = None) -> Fault | None:
    """The line for an error that a user or the machine can cause; None for any other.

    Args:
        error: what was raised.
        folder: where the command writes, for errors of writing that name no file.
    """
    if isinstance(error, KeyboardInterrupt):
        return Fault("interrupted (SIGINT)", 130)
    if _is(error, "mixmask_solo.config", "ConfigError") or _is(
        error, "mixmask_solo.data", "ImageError"
    ):
        return Fault(_without_stack(error), 2)
    if isinstance(error, OSError):
        return Fault(_of_the_system(error, folder), 1)
    if not isinstance(error, RuntimeError):
        return None
    text = str(error)
    if text.startswith(_LOST_WORKER):
        return Fault(_lost_worker(text), 1)
    if _is_of_peers(error):
        return Fault(_lost_peer(text), 1, shared=True)
    cause = error.__context__
    if "inline_container" in text and isinstance(cause, OSError):  # torch.save, closing its file
        return Fault(_of_the_system(cause, folder), 1)
    return None


def _is(error: BaseException, module: str, name: str) -> bool:
    """Whether it is of that class; imports nothing, since an import may be what went wrong."""
    kind = getattr(sys.modules.get(module), name, ())
    return isinstance(error, kind)


def _without_stack(error: BaseException) -> str:
    """The message; out of a worker process it comes with that process's stack before it."""
    text = str(error).strip()
    if text.startswith("Caught ") and "worker process" in text:
        text = text.rpartition(f"{type(error).__name__}: ")[2]
    return text


def _of_the_system(error: OSError, folder: str | Path | None) -> str:
    number = error.errno
    reason = os.strerror(number) if number else _without_stack(error)
    place = _path(error) or (folder if number in _OF_WRITING else None)
    if place is None:
        return reason
    remedy = next((text for numbers, text in _REMEDIES.items() if number in numbers), "")
    return f"'{place}': {reason} ({_space(Path(place))}){f'; {remedy}' if remedy else ''}"


def _path(error: OSError) -> str | None:
    name = error.filename
    return os.fsdecode(name) if isinstance(name, (str, bytes, os.PathLike)) else None


def _space(place: Path) -> str:
    existing = next((p for p in (place, *place.absolute().parents) if p.exists()), Path("/"))
    try:
        usage = shutil.disk_usage(existing)
    except OSError as error:
        return f"{existing}: {error.strerror}"
    return f"{_size(usage.free)} of {_size(usage.total)} free in {existing}"


def _size(count: float) -> str:
    for unit in ("B", "kB", "MB", "GB"):
        if count < 999.5:
            return f"{count:.3g} {unit}"
        count /= 1000
    return f"{count:.3g} TB"


def _lost_worker(text: str) -> str:
    first = text.strip().splitlines()[0].rstrip(". ")
    if "timed out" in first:
        return f"{first}: reading a batch takes too long; raise data.num_workers, check the disk"
    if "Bus error" in text or "shared memory" in text:
        return f"{first}; give the machine more shared memory (/dev/shm), or lower data.num_workers"
    return (
        f"{first}: most likely the system ended it for want of memory (out-of-memory killer, see "
        "dmesg); lower data.num_workers or give it more memory"
    )


def _is_of_peers(error: RuntimeError) -> bool:
    of_torch = _is(error, "torch.distributed", "DistError")
    return of_torch or any(sign in str(error) for sign in _LOST_PEER)


def _lost_peer(text: str) -> str:
    first = text.strip().splitlines()[0].partition(". ")[0]
    how = lost() or "one of them has probably died; its own message, or dmesg, says why"
    return f"the training processes lost each other: {how} ({first})"

# SPDX-License-Identifier: MIT
"""What the machine does to a command ends in one line and status 1, whichever command it is."""

from __future__ import annotations

import errno
import os
import re
import shutil
import signal
import subprocess
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image

from mixmask_solo.cli.ending import loading, one_line
from mixmask_solo.cli.faults import Fault, explain
from mixmask_solo.config import ConfigError
from support.methods import NARROW_WORDS

PRETRAIN = [
    *("pretrain", "--config-path", "scripts/pretrain/digits", "--config-name", "simclr_mixmask"),
    *("limit_train_batches=2", "limit_val_batches=1", "accelerator=cpu", "max_epochs=200"),
    "optimizer.batch_size=16",
    *NARROW_WORDS,
]


@pytest.fixture
def mount(tmp_path: Path) -> Iterator[Callable[[str], Path]]:
    """``mount("size=1m")``: a file system in memory, where this may be."""
    mounted: list[Path] = []

    def make(options: str) -> Path:
        place = tmp_path / "mounted"
        place.mkdir(exist_ok=True)
        call = ["mount", "-t", "tmpfs", "-o", options, "tmpfs", str(place)]
        if shutil.which("mount") is None or subprocess.run(call, check=False).returncode:
            pytest.skip("no file system can be mounted here")
        mounted.append(place)
        return place

    yield make
    for place in mounted:
        subprocess.run(["umount", "-l", str(place)], check=False)


@pytest.fixture
def images(tmp_path: Path) -> Path:
    """Forty images of noise, 60 kB in all."""
    rng = np.random.default_rng(0)
    (tmp_path / "images" / "a").mkdir(parents=True)
    for i in range(40):
        pixels = rng.integers(0, 256, (22, 22, 3), dtype=np.uint8)
        Image.fromarray(pixels).save(tmp_path / "images" / "a" / f"{i}.png")
    return tmp_path / "images"


def complaint(stderr: str, command: str) -> str:
    """The one line, which is the last; the lines of progress before it."""
    *progress, line = stderr.strip().splitlines()
    assert "Traceback" not in stderr
    assert not [text for text in progress if "rror" in text], stderr
    assert line.startswith(f"{command}: "), stderr
    return line.removeprefix(f"{command}: ")


def begun(process: subprocess.Popen[str], folder: Path) -> Path:
    """The run's folder, once an epoch has been saved there."""
    deadline = time.monotonic() + 120
    while process.poll() is None and time.monotonic() < deadline:
        found = list(folder.glob("*/*/last.ckpt"))
        if found:
            return found[0].parent
        time.sleep(0.1)
    raise AssertionError(process.communicate()[1])


def children(process: subprocess.Popen[str]) -> list[int]:
    """Its own kind alone: where there is a GPU, torch keeps processes of other programs too."""
    tasks = Path(f"/proc/{process.pid}/task").glob("*/children")
    found = sorted(int(pid) for task in tasks for pid in task.read_text().split())
    return [pid for pid in found if b"mixmask" in Path(f"/proc/{pid}/cmdline").read_bytes()]


@pytest.mark.slow
def test_a_full_disk(mount: Any, command: Any) -> None:
    folder = mount("size=1m")
    done = command(*PRETRAIN, "data.num_workers=0", f"checkpoint.dir={folder}")
    assert done.returncode == 1
    line = complaint(done.stderr, "mixmask-pretrain")
    assert line.startswith(f"'{folder}")
    assert re.search(r": No space left on device \(.* of 1\.0 MB free in .*\); .* did not", line)


def test_a_full_disk_under_other_commands(mount: Any, images: Path, command: Any) -> None:
    full = mount("size=32k")
    arguments = ("convert", str(images), str(full / "out"), "--to", "webdataset")
    done = command("data", *arguments)
    assert done.returncode == 1
    line = complaint(done.stderr, "mixmask-data convert")
    assert line.startswith(f"'{full}")
    assert "No space left on device" in line
    assert "of 32.8 kB free" in line


def test_a_read_only_folder(mount: Any, tmp_path: Path, command: Any) -> None:
    folder = mount("ro,size=1m")
    done = command(*PRETRAIN, "data.num_workers=0", f"checkpoint.dir={folder}")
    assert done.returncode == 1
    line = complaint(done.stderr, "mixmask-pretrain")
    assert line.startswith(f"'{folder}/simclr")
    assert "Read-only file system" in line
    assert line.endswith("; it is mounted for reading only; write elsewhere")


@pytest.mark.slow
def test_a_folder_that_vanishes(tmp_path: Path, start: Any) -> None:
    folder = tmp_path / "runs"
    process = start(*PRETRAIN, "data.num_workers=0", f"checkpoint.dir={folder}")
    begun(process, folder)
    while folder.exists():
        shutil.rmtree(folder, ignore_errors=True)
    _, stderr = process.communicate(timeout=60)
    assert process.returncode == 1, stderr
    line = complaint(stderr, "mixmask-pretrain")
    assert line.startswith(f"'{folder}")
    assert "No such file or directory" in line
    assert "was its folder removed" in line


@pytest.mark.slow
def test_a_lost_worker(tmp_path: Path, start: Any) -> None:
    process = start(*PRETRAIN, "data.num_workers=1", f"checkpoint.dir={tmp_path}")
    begun(process, tmp_path)
    worker = children(process)[0]  # the older one trains, the other validates
    os.kill(worker, signal.SIGKILL)
    _, stderr = process.communicate(timeout=60)
    assert process.returncode == 1, stderr
    line = complaint(stderr, "mixmask-pretrain")
    assert re.match(rf"DataLoader worker \(pid(\(s\))? {worker}\) (is killed|exited unexp)", line)
    assert "out-of-memory killer" in line
    assert "data.num_workers" in line


@pytest.mark.slow
def test_a_training_process_that_died(tmp_path: Path, start: Any) -> None:
    arguments = ["data.num_workers=0", "devices=2", "strategy=ddp", f"checkpoint.dir={tmp_path}"]
    process = start(*PRETRAIN, *arguments)
    begun(process, tmp_path)
    [other] = children(process)
    os.kill(other, signal.SIGKILL)
    _, stderr = process.communicate(timeout=60)
    assert process.returncode == 1, stderr
    assert "Traceback" not in stderr
    [line] = [x for x in stderr.splitlines() if x.startswith("mixmask-pretrain")]
    expected = f"the training processes lost each other: rank 1 (pid {other}) was killed by SIGKILL"
    assert line.startswith(f"mixmask-pretrain: {expected}")
    assert not Path(f"/proc/{other}").exists()


@pytest.mark.parametrize(
    ("arguments", "number"),
    [
        (PRETRAIN, signal.SIGINT),
        (["data", "check", "."], signal.SIGINT),
        (["data", "check", "."], signal.SIGTERM),
    ],
    ids=["run", "data", "data-terminated"],
)
def test_a_signal_while_libraries_are_loaded(
    arguments: list[str], number: signal.Signals, start: Any
) -> None:
    process = start(*arguments)
    while "libtorch" not in Path(f"/proc/{process.pid}/maps").read_text():
        assert process.poll() is None
        time.sleep(0.02)
    process.send_signal(number)
    _, stderr = process.communicate(timeout=60)
    assert process.returncode == 128 + number
    assert re.fullmatch(rf"mixmask-(pretrain|data check): interrupted \({number.name}\)\n", stderr)


def test_who_ignores_sigterm_goes_on_ignoring_it() -> None:
    """As whoever started the command wanted it."""
    before = signal.signal(signal.SIGTERM, signal.SIG_IGN)
    try:
        with one_line("x"), loading("x"):
            os.kill(os.getpid(), signal.SIGTERM)
        assert signal.getsignal(signal.SIGTERM) is signal.SIG_IGN
    finally:
        signal.signal(signal.SIGTERM, before)


def line(error: BaseException, folder: str | None = None) -> str:
    fault = explain(error, folder)
    assert isinstance(fault, Fault)
    assert fault.status == 1
    return re.sub(r"\(.* of .* free in (.*?)\)", r"(\1)", fault.line)


@pytest.mark.parametrize(
    ("number", "remedy"),
    [
        (errno.EDQUOT, "free space or write elsewhere; what was saved before is kept"),
        (errno.EACCES, "check its permissions, or write elsewhere"),
        (errno.EIO, "check the disk, or the network it is reached by"),
        (errno.EMFILE, "raise the limit of open files (ulimit -n)"),
    ],
)
def test_the_systems_reasons_and_what_to_do(number: int, remedy: str, tmp_path: Path) -> None:
    lost = tmp_path / "deep" / "er" / "x.ckpt"
    found = line(OSError(number, "whatever", str(lost)), "elsewhere")
    assert found.startswith(f"'{lost}': {os.strerror(number)} ({tmp_path}); ")
    assert found.endswith(remedy)


def test_errors_that_name_no_file() -> None:
    assert line(OSError(errno.EROFS, "x"), "/").startswith("'/': Read-only file system (/); ")
    assert line(OSError(errno.EIO, "x"), "/") == "Input/output error"  # of reading, perhaps
    assert line(OSError("the server said no"), "/") == "the server said no"


def test_torch_save_hides_the_reason() -> None:
    error = RuntimeError("[enforce fail at inline_container.cc:1] . unexpected pos 4 vs 3")
    assert explain(error, "/") is None
    error.__context__ = OSError(errno.ENOSPC, "x")
    assert line(error, "/").startswith("'/': No space left on device (/)")


def test_shared_memory_and_slow_disks_are_other_causes() -> None:
    bus = "DataLoader worker (pid 7) is killed by signal: Bus error. It is possible that ..."
    assert "/dev/shm" in line(RuntimeError(bus))
    slow = line(RuntimeError("DataLoader timed out after 5 seconds"))
    assert slow.startswith("DataLoader timed out after 5 seconds: reading a batch takes too long")


def test_what_happened_in_a_worker_comes_without_its_stack() -> None:
    told = "Caught ConfigError in DataLoader worker process 0.\nOriginal Traceback (most recent "
    error = ConfigError(f"{told}call last):\n  File x\nmixmask_solo.config.ConfigError: a is b")
    assert explain(error) == Fault("a is b", 2)


def test_bugs_are_no_faults() -> None:
    for error in (KeyError("x"), RuntimeError("CUDA error"), TypeError("x"), SystemExit(1)):
        assert explain(error) is None

# SPDX-License-Identifier: MIT
"""Workers and signals, in real processes."""

from __future__ import annotations

import json
import os
import queue
import shutil
import signal
import subprocess
import sys
import tempfile
import threading
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from mixmask_solo.config import ConfigError
from mixmask_solo.data import build_pretrain

SIGNALS = (signal.SIGINT, signal.SIGTERM, signal.SIGUSR1)
# A main process that takes note of signals, as a run does, and says what it sees.
PARENT = """
import json, multiprocessing, signal, sys, time
from mixmask_solo.data import build_pretrain

def say(what):
    print(json.dumps(what), flush=True)

def main(method):
    caught = set()
    for number in (signal.SIGINT, signal.SIGTERM, signal.SIGUSR1):
        signal.signal(number, lambda number, frame: caught.add(number))
    multiprocessing.set_forkserver_preload(["mixmask_solo.data"])
    loader = build_pretrain(json.loads(sys.argv[1])).train_dataloader()
    loader.multiprocessing_context = method
    say("ready")
    say([batch[0].tolist() for batch in loader])
    say(sorted(caught))
    iterator, loader._iterator = loader._iterator, None
    begun = time.monotonic()
    iterator._shutdown_workers()
    say(time.monotonic() - begun)
    next(iter(loader))
    worker = loader._iterator._workers[0]
    worker.terminate()
    worker.join(10)
    say(worker.exitcode)
    loader._iterator = None
    next(iter(loader))
    say([worker.pid for worker in loader._iterator._workers])
    time.sleep(60)

if __name__ == "__main__":
    main(sys.argv[2])
"""


def cfg(workers: int) -> dict[str, Any]:
    return {
        "seed": 7,
        "data": {"dataset": "digits", "num_workers": workers},
        "optimizer": {"batch_size": 64},
        "augmentations": [{"crop_size": 8, "num_crops": 1}],
    }


@pytest.fixture(scope="module", params=["fork", "forkserver"])
def seen(request: Any, tmp_path_factory: Any) -> Iterator[dict[str, Any]]:
    """What such a process says, with a group of its own, and how its last workers end."""
    file = tmp_path_factory.mktemp("workers") / "parent.py"
    file.write_text(PARENT)
    command = [sys.executable, str(file), json.dumps(cfg(2)), request.param]
    process = subprocess.Popen(command, stdout=subprocess.PIPE, text=True, start_new_session=True)
    said: queue.Queue[Any] = queue.Queue()

    def listen() -> None:
        assert process.stdout is not None
        for line in process.stdout:
            said.put(json.loads(line))

    threading.Thread(target=listen, daemon=True).start()
    try:
        yield observed(process, said)
    finally:
        process.kill()
        process.wait()


def observed(process: subprocess.Popen[str], said: queue.Queue[Any]) -> dict[str, Any]:
    main = process.pid
    assert said.get(timeout=60) == "ready"
    signals = 0
    # From before the first worker is there until all batches are, whatever anyone is about.
    while said.empty() and process.poll() is None:
        for number in SIGNALS:
            os.killpg(main, number)
        signals += 1
        time.sleep(0.002)
    names = ("batches", "caught", "shutdown", "exitcode", "pids")
    assert process.poll() is None, "it died of a signal, or of a worker that did"
    seen = {"signals": signals} | {name: said.get(timeout=60) for name in names}
    told, untold = seen["pids"]
    assert [pid for pid in (told, untold) if gone(pid)] == []
    process.kill()
    process.wait()
    os.kill(told, signal.SIGTERM)
    seen["told"] = seconds_until_gone(told)
    seen["untold"] = seconds_until_gone(untold)
    return seen


def seconds_until_gone(pid: int) -> float:
    begun = time.monotonic()
    while not gone(pid) and time.monotonic() - begun < 30:
        time.sleep(0.02)
    return time.monotonic() - begun


def gone(pid: int) -> bool:
    """Whether a process is dead."""
    try:
        return Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0] == "Z"
    except FileNotFoundError:
        return True


def test_signals_to_the_group_do_not_disturb_the_batches(seen: dict[str, Any]) -> None:
    undisturbed = build_pretrain(cfg(0)).train_dataloader()
    assert seen["batches"] == [batch[0].tolist() for batch in undisturbed]
    assert seen["caught"] == sorted(SIGNALS)
    assert seen["signals"] > 10


def test_workers_of_a_finished_loader_end_at_once(seen: dict[str, Any]) -> None:
    assert seen["shutdown"] < 2  # torch waits 5 s for one that does not, and terminates it


def test_the_parent_can_terminate_a_worker(seen: dict[str, Any]) -> None:
    assert seen["exitcode"] == 0


def test_workers_go_when_their_parent_is_gone(seen: dict[str, Any]) -> None:
    assert seen["told"] < 2
    assert seen["untold"] < 15  # they look every 5 s


@pytest.mark.skipif(sys.platform != "linux", reason="the limit is Linux's")
def test_a_temporary_folder_with_too_long_a_name_is_refused_and_not_waited_for(
    views_cfg: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    for length, refused in ((75, False), (76, True)):
        monkeypatch.setattr(tempfile, "tempdir", "/tmp/".ljust(length, "x"))
        Path(tempfile.tempdir or "").mkdir()
        try:
            cfg = views_cfg({"dataset": "digits", "num_workers": 1}, 16)
            loader = build_pretrain(cfg).train_dataloader()
            if refused:
                with pytest.raises(ConfigError, match=r"more than 75 characters.* TMPDIR=/tmp"):
                    next(iter(loader))
            else:
                assert len(next(iter(loader))[0]) == 16  # the longest that still works
        finally:
            shutil.rmtree(tempfile.tempdir or "")

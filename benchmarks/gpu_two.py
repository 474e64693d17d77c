# SPDX-License-Identifier: MIT
"""Part of ``gpu.py``: two GPUs. As a script, one process of such a run."""

import argparse
import json
import os
import socket
import subprocess
import sys
import tempfile
from collections.abc import Iterator
from pathlib import Path
from typing import Any
from unittest.mock import patch

import torch
from figures import Figure, holds
from gpu_train import config

from mixmask_solo.runs.pretrain import pretrain
from mixmask_solo.runs.readback import NonFiniteLoss, Readback

_PATIENCE = 120  # seconds; a run takes some ten
_MOVING = ("running_mean", "running_var")


def two(args: argparse.Namespace) -> Iterator[Figure]:
    """SyncBN, MoCo's shuffled keys and queue, and a loss that one process alone has as NaN."""
    if torch.cuda.device_count() < 2:
        yield Figure("two processes", why=f"needs two GPUs, {torch.cuda.device_count()} is here")
        return
    yield from together("gpu")


def together(accelerator: str) -> Iterator[Figure]:
    """What two processes of each run end with."""
    with tempfile.TemporaryDirectory() as place:
        yield holds("SyncBN: equal statistics", _run(Path(place), "sync", "simclr", accelerator))
        yield holds("shuffled keys: equal queues", _run(Path(place), "keys", "mocov2", accelerator))
        yield holds("NaN on one rank ends both", _run(Path(place), "nan", "simclr", accelerator))


def _run(place: Path, how: str, method: str, accelerator: str) -> str:
    """What was wrong; empty for nothing."""
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port = str(probe.getsockname()[1])
    arguments = [str(place), how, method, accelerator]
    started = [
        subprocess.Popen(
            [sys.executable, __file__, *arguments],
            env={**os.environ, "MASTER_ADDR": "127.0.0.1", "MASTER_PORT": port, "LOCAL_RANK": rank},
        )
        for rank in "01"
    ]
    try:
        ends = [process.wait(_PATIENCE) for process in started]
    except subprocess.TimeoutExpired:
        return f"not at an end after {_PATIENCE} s"
    finally:
        for process in started:
            process.kill()
    if ends != [0, 0]:
        return f"the processes ended with {ends}"
    told = [json.loads((place / f"{how}-{rank}.json").read_text()) for rank in "01"]
    if how == "nan":
        return "" if all("not finite" in x["error"] for x in told) else str(told)
    if any(x["error"] for x in told):
        return str(told)
    one, other = (torch.load(place / f"{how}-{rank}.pt") for rank in "01")
    alike = [name for name in one if how == "sync" or not name.endswith(_MOVING)]
    differ = [name for name in alike if not torch.equal(one[name], other[name])]
    return f"{len(differ)} tensors differ between the processes: {differ[:3]}" if differ else ""


def worker(place: Path, how: str, method: str, accelerator: str) -> None:
    """One process of a run; writes how it ended and, if well, what it holds then."""
    rank, error = os.environ["LOCAL_RANK"], ""
    state: dict[str, Any] = {}
    original = Readback.on_train_batch_end

    def look(self: Any, trainer: Any, module: Any, outputs: Any, *rest: Any) -> None:
        if how == "nan" and rank == "1" and trainer.global_step == 3:
            outputs = {"loss": outputs["loss"] * float("nan")}
        original(self, trainer, module, outputs, *rest)
        state.update({name: x.cpu().clone() for name, x in module.state_dict().items()})

    more = {"devices": 2, "strategy": "ddp", "accelerator": accelerator, "limit_val_batches": 0}
    more |= {"optimizer": {"batch_size": 16}, "backbone": {"name": "resnet10t"}}
    more |= {"sync_batchnorm": how == "sync", "checkpoint": {"dir": str(place / how)}}
    with patch.object(Readback, "on_train_batch_end", look):
        try:
            pretrain(config(method, "mixmask_unmix", limit_train_batches=8, **more))
        except NonFiniteLoss as found:
            error = str(found)
    torch.save(state, place / f"{how}-{rank}.pt")
    (place / f"{how}-{rank}.json").write_text(json.dumps({"error": error}))


if __name__ == "__main__":
    worker(Path(sys.argv[1]), *sys.argv[2:])

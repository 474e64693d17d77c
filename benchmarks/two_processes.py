# SPDX-License-Identifier: MIT
"""What two processes of a run send each other in a step, and how long a step takes.

    python benchmarks/two_processes.py --out benchmarks/results/two-processes-cpu.json

MoCo v2+ with a queue of 65,536 keys, ResNet-18, 32 px, over gloo: once as the package runs it, once
with DDP's own broadcast of buffers and Lightning's reduction of every metric in every step. Counted
are the bytes that each call of ``torch.distributed`` is given, gradients apart, which both send.
"""

from __future__ import annotations

import argparse
import json
import os
import socket
import statistics
import subprocess
import sys
import tempfile
import time
from collections import Counter
from pathlib import Path
from typing import Any

import torch
import torch.distributed as dist
from conditions import conditions, save
from omegaconf import OmegaConf

from mixmask_solo.runs import ranks
from mixmask_solo.runs.pretrain import pretrain
from mixmask_solo.runs.readback import Readback

CALLS = ("all_reduce", "all_gather", "barrier", "broadcast", "_broadcast_coalesced")
STEPS, WARMUP = 12, 4


def config(folder: str) -> Any:
    """A run of a few steps on random-looking digits."""
    return OmegaConf.create(
        {
            "method": "mocov2plus",
            "host": "builtin",
            "backbone": {"name": "resnet18"},
            "method_kwargs": {
                "proj_hidden_dim": 2048,
                "proj_output_dim": 256,
                "temperature": 0.2,
                "queue_size": 65536,
                "mixmask": {"grid_size": 2, "mask_type": "discrete"},
            },
            "data": {"dataset": "digits", "num_workers": 0},
            "augmentations": [{"crop_size": 32, "num_crops": 2}],
            "optimizer": {
                "name": "sgd",
                "batch_size": 16,
                "lr": 0.1,
                "classifier_lr": 0.1,
                "weight_decay": 1e-4,
            },
            "scheduler": {"name": "none"},
            "max_epochs": 1,
            "limit_train_batches": STEPS,
            "limit_val_batches": 0,
            "accelerator": "cpu",
            "devices": 2,
            "strategy": "ddp",
            "checkpoint": {"dir": folder},
        }
    )


def work(folder: str, how: str) -> None:
    """One of the two processes; rank zero writes what it counted."""
    bytes_of: Counter[str] = Counter()
    times: list[float] = []
    counted: list[Counter[str]] = []
    for name in CALLS:
        setattr(dist, name, _counting(name, bytes_of))
    if how == "before":
        ranks.LocalBuffers.setup = lambda *_, **__: None  # type: ignore[method-assign]
        ranks.EpochMeans.on_train_start = lambda *_, **__: None  # type: ignore[method-assign]
    original = Readback.on_train_batch_end

    def look(self: Readback, *args: Any) -> None:
        original(self, *args)
        times.append(time.perf_counter())
        counted.append(Counter(bytes_of))

    Readback.on_train_batch_end = look  # type: ignore[method-assign]
    torch.set_num_threads(1)
    pretrain(config(folder))
    if os.environ["LOCAL_RANK"] == "0":
        steps = STEPS - WARMUP
        sent = {name: (counted[-1][name] - counted[WARMUP - 1][name]) / steps for name in CALLS}
        laps = [1e3 * (b - a) for a, b in zip(times[WARMUP - 1 :], times[WARMUP:], strict=False)]
        Path(folder, f"{how}.json").write_text(json.dumps({"bytes": sent, "ms": laps}))


def _counting(name: str, bytes_of: Counter[str]) -> Any:
    function = getattr(dist, name)

    def call(*args: Any, **kwargs: Any) -> Any:
        given = [a for a in args if isinstance(a, torch.Tensor)]
        given += [x for a in args if isinstance(a, list) for x in a if isinstance(x, torch.Tensor)]
        bytes_of[name] += sum(x.numel() * x.element_size() for x in given) or (name == "barrier")
        return function(*args, **kwargs)

    return call


def measure(how: str) -> dict[str, Any]:
    """Starts both processes and reads what they counted."""
    with tempfile.TemporaryDirectory() as folder, socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        environ = {**os.environ, "MASTER_ADDR": "127.0.0.1", "OMP_NUM_THREADS": "1"}
        environ["MASTER_PORT"] = str(probe.getsockname()[1])
        probe.close()
        command = [sys.executable, __file__, "--work", folder, how]
        started = [
            subprocess.Popen(command, env={**environ, "LOCAL_RANK": str(rank)}, stderr=2)
            for rank in range(2)
        ]
        if any(process.wait() for process in started):
            raise SystemExit(f"a process of {how!r} failed")
        found: dict[str, Any] = json.loads(Path(folder, f"{how}.json").read_text())
        return found


def main() -> int:
    """Measures, prints, saves."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--work", nargs=2, help=argparse.SUPPRESS)
    parser.add_argument("--out", type=Path)
    args = parser.parse_args()
    if args.work:
        work(*args.work)
        return 0
    rows = {how: measure(how) for how in ("before", "now")}
    for how, row in rows.items():
        told = ", ".join(f"{name} {size:,.0f}" for name, size in row["bytes"].items() if size)
        print(f"{how:7} {statistics.median(row['ms']):8.0f} ms a step; bytes a step: {told}")
    save(args.out, {"benchmark": "two_processes", **conditions(), "rows": rows})
    return 0


if __name__ == "__main__":
    raise SystemExit(main())

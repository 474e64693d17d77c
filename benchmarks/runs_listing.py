# SPDX-License-Identifier: MIT
"""What ``mixmask-runs`` takes over 10,000 runs, each command a process of its own.

    python benchmarks/runs_listing.py --out benchmarks/results/runs-listing.json

The runs are made up: a real one's ``result.json`` of about 5 kB with other seeds, settings and
metrics, in ``<method>/<run>/``. Cold is the first listing, without an index (the files themselves
are in the system's cache); warm figures are medians of the next ones. Exit status 1 when a warm
``ls`` or ``best`` takes 2 s or more.
"""

from __future__ import annotations

import argparse
import json
import os
import random
import statistics
import subprocess
import sys
import tempfile
import time
from datetime import datetime, timedelta, timezone
from pathlib import Path
from typing import Any

from conditions import conditions, save, tell_load

BAR = 2.0  # seconds
METHODS = ("byol", "mocov2plus", "simclr", "simsiam")
COMMANDS = {
    "ls": ["ls"],
    "ls, filter and sort": ["ls", "method=byol", "grid_size>=4", "--sort", "knn"],
    "best": ["best", "knn"],
    "best of each": ["best", "knn", "--by", "method"],
    "compare": ["compare", "--by", "method", "--by", "mixed", "--by", "grid_size"],
}
BEGUN = datetime(2026, 1, 1, tzinfo=timezone.utc)


def made_up(number: int, rng: random.Random) -> dict[str, Any]:
    """A completed run's record."""
    method, seed = METHODS[number % 4], number // 40
    date = (BEGUN + timedelta(minutes=number)).isoformat(timespec="seconds")
    names = ("acc1", "acc5", "knn_acc1", "knn_acc5")
    measured = {f"val_{name}": rng.uniform(50, 95) for name in names}
    trained = ("loss", "acc1", "acc5", "class_loss", "lr", "grad_norm", "embedding_std")
    mixed = {"grid_size": 2 + number // 4 % 5, "mask_type": "block", "ratio": 0.5, "prob": 1.0}
    mixed |= {"partner": "reverse", "switch": True, "weight": 1.0, "per_sample": False}
    crops = {"rrc": {"enabled": True, "crop_min_scale": 0.2, "crop_max_scale": 1.0}}
    crops |= {name: {"prob": 0.5} for name in ("horizontal_flip", "grayscale", "gaussian_blur")}
    command = f"mixmask-pretrain --config-path scripts/pretrain/cifar --config-name {method}"
    piece = {"started": date, "command": command, "commit": "0" * 40, "dirty": False}
    piece |= {"pid": number, "host": "node1", "first_step": 0, "ended": date, "steps": 39000}
    piece |= {"status": "completed", "images": 9984000, "train_seconds": 7000.5}
    return {
        "id": f"{number:012x}",
        "status": "completed",
        "process": {"pid": number, "host": "node1"},
        "heartbeat": date,
        "metrics": {**measured, **{f"train_{name}": rng.random() for name in trained}},
        "metrics_epoch": 199,
        "best_metrics": {name: {"value": v, "epoch": 190} for name, v in measured.items()},
        "wall_seconds": 7100.25,
        "images_per_second": 1406.5,
        "epochs": 200,
        "steps": 39000,
        "learning_rates": {"backbone": 0.3, "classifier": 0.1, "projector": 0.3},
        "data_errors": 0,
        "pieces": [{**piece, "wall_seconds": 7100.25}],
        "seed": seed,
        "provenance": {"date": date, "command": command, "overrides": [f"seed={seed}"]}
        | {"machine": "node1", "commit": "0" * 40, "dirty": False},
        "versions": dict.fromkeys(("python", "torch", "timm", "lightning", "device"), "1.2.3"),
        "processes": 1,
        "host": "builtin",
        "data": {
            part: {"images": n, "classes": 10, "labels": "0" * 16, "names": "f" * 16}
            for part, n in (("train", 50000), ("val", 10000))
        },
        "config": {
            "seed": seed,
            **dict.fromkeys(("resume_from_checkpoint", "init_from", "profiler")),
            "checkpoint": {"enabled": True, "dir": "trained_models", "frequency": 1},
            "auto_resume": {"enabled": False, "max_hours": 36.0},
            "wandb": {"enabled": False, "entity": None, "project": "mixmask", "offline": False},
            "performance": {"disable_channel_last": False, "compile": False, "tf32": False},
            "name": f"{method}-cifar10",
            "knn_eval": {"enabled": True, "k": 20, "distance_func": "cosine", "final": True},
            "data": {"dataset": "cifar10", "num_workers": "auto", "format": "image_folder"},
            "backbone": {"name": "resnet18", "stem": "auto", "kwargs": {}},
            "augmentations": [{**crops, "crop_size": 32, "num_crops": 1} for _ in range(2)],
            "optimizer": {"name": "sgd", "batch_size": 256, "lr": 0.3, "weight_decay": 1e-4},
            "scheduler": {"name": "warmup_cosine", "warmup_epochs": 10, "interval": "step"},
            "max_epochs": 200,
            "method": method,
            "method_kwargs": {"proj_hidden_dim": 2048, "temperature": 0.2}
            | ({"mixmask": mixed} if number % 3 else {}),
        },
        "knn": {"features": "backbone", "k": 20, "temperature": 0.07}
        | {"acc1": rng.uniform(50, 95), "acc5": 99.0},
    }


def fabricate(root: Path, runs: int) -> int:
    """Writes their records below ``root``; returns the size of the last one."""
    rng = random.Random(0)
    past = time.time() - 3600
    for number in range(runs):
        record = made_up(number, rng)
        name = f"{record['config']['name']}-seed-{record['seed']}-{number:06d}"
        file = root / record["config"]["method"] / name / "result.json"
        file.parent.mkdir(parents=True)
        file.write_text(json.dumps(record, indent=2))
        os.utime(file, (past, past))
    return file.stat().st_size


def seconds(arguments: list[str], root: Path) -> tuple[float, float]:
    """Of a whole process: on the clock, and of the CPU, which others do not lengthen much."""
    start, before = time.perf_counter(), os.times()
    command = [sys.executable, "-m", "mixmask_solo.cli.runs", *arguments, str(root)]
    subprocess.run(command, check=True, stdout=subprocess.DEVNULL)
    clock, after = time.perf_counter() - start, os.times()
    user, system = (after[i] - before[i] for i in (2, 3))  # of children
    return clock, user + system


def main() -> int:
    """Measures, prints, saves."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--runs", type=int, default=10_000)
    parser.add_argument("--repeats", type=int, default=5)
    parser.add_argument("--out", type=Path)
    args = parser.parse_args()
    loads: list[float | None] = []
    with tempfile.TemporaryDirectory() as folder, tell_load(loads):
        root = Path(folder)
        size = fabricate(root, args.runs)
        cold = seconds(COMMANDS["ls"], root)
        index = (root / ".mixmask-runs.sqlite").stat().st_size
        warm: dict[str, list[tuple[float, float]]] = {name: [] for name in COMMANDS}
        for _ in range(args.repeats):
            for name, arguments in COMMANDS.items():
                warm[name].append(seconds(arguments, root))
    median = {name: statistics.median(clock for clock, _ in all_) for name, all_ in warm.items()}
    cpu = {name: statistics.median(cpu for _, cpu in all_) for name, all_ in warm.items()}
    print(f"{'ls, cold':24} {cold[0]:6.2f} s ({cold[1]:.2f} s of CPU)")
    for name, value in median.items():
        print(f"{name:24} {value:6.2f} s ({cpu[name]:.2f} s of CPU)")
    content = {
        "benchmark": "runs-listing",
        "runs": args.runs,
        "bytes_of_a_record": size,
        "bytes_of_the_index": index,
        "cold_ls_seconds": cold[0],
        "cold_ls_cpu_seconds": cold[1],
        "warm_seconds": median,
        "warm_cpu_seconds": cpu,
        "warm_seconds_all": {name: [clock for clock, _ in all_] for name, all_ in warm.items()},
        "other_load_in_cores": loads[0],
        "bar_seconds": BAR,
        "conditions": conditions(),
    }
    save(args.out, content)
    return int(max(median["ls"], median["best"]) >= BAR)


if __name__ == "__main__":
    sys.exit(main())

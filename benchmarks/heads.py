# SPDX-License-Identifier: MIT
"""What many heads in one pass cost beside a single probe: whole runs, and steps alone.

    python benchmarks/heads.py --out benchmarks/results/heads-cpu.json

Runs are whole ones of ``mixmask-linear`` on digits, from the configuration to ``result.json``: a
frozen ResNet-18 with random weights on augmented images, one rate, or eight heads (rates, decays,
unit length or not); both hold the same tenth of the training images out and validate each epoch.
Steps are training steps and the optimiser's alone, on random images. One and eight take turns in
one process; a figure is the median over the repetitions of the ratio within one. What counts is CPU
time, which tells less of what else the machine does; wall time stands beside it. Exit status 1
where eight heads cost 1.3 times one or more.
"""

from __future__ import annotations

import argparse
import statistics
import tempfile
import time
from collections.abc import Callable
from functools import partial
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import torch
from conditions import conditions, save, tell_load
from omegaconf import OmegaConf

from mixmask_solo.evaluation.heads import build_heads
from mixmask_solo.host.builtin.backbones import build_backbone
from mixmask_solo.runs.linear import linear, resolve_unread

BAR = 1.3
BATCH = 64
EIGHT = {
    "optimizer": {"lr": [0.1, 1.0], "weight_decay": [0.0, 1e-6]},
    "probe": {"normalize": [False, True]},
}
RUNS = ((32, 10), (64, 10))  # pixels, classes
STEPS = ((64, 100), (64, 1000))

Way = Callable[[], Any]


def config(checkpoint: Path, size: int, heads: dict[str, Any]) -> Any:
    base = {
        "pretrained_feature_extractor": str(checkpoint),
        "data": {"dataset": "digits", "format": "resident", "augmentations": {"crop_size": size}},
        "backbone": {"name": "resnet18", "stem": "imagenet"},
        "optimizer": {"name": "sgd", "batch_size": BATCH, "lr": 1.0},
        "scheduler": {"name": "cosine"},
        "probe": {"holdout": 0.1},
        "checkpoint": {"enabled": True, "dir": str(checkpoint.parent)},
        "max_epochs": 2,
        "limit_train_batches": 16,
        "limit_val_batches": 2,
        "accelerator": "cpu",
    }
    return OmegaConf.merge(base, heads)


def step(written: Any, classes: int) -> Way:
    """Four training steps on random images, the optimiser's among them."""
    cfg = resolve_unread(written)
    cfg.data.num_classes = classes
    model = build_heads(build_backbone(cfg), cfg)
    model._trainer = SimpleNamespace(  # type: ignore[assignment]
        estimated_stepping_batches=100, gradient_clip_val=None, datamodule=None
    )
    [optimizer], _ = model.configure_optimizers()
    model._trainer = None
    model.log_labelled = lambda *_: None  # type: ignore[method-assign]
    size = cfg.data.augmentations.crop_size
    x, y = torch.rand(BATCH, 3, size, size), torch.arange(BATCH) % cfg.data.num_classes

    def run() -> None:
        for number in range(4):
            optimizer.zero_grad()
            model.training_step([x, y], number).backward()
            optimizer.step()

    return run


def compared(one: Way, eight: Way, repetitions: int) -> dict[str, Any]:
    """Medians over the repetitions of what eight cost by what one costs, after a first turn each
    that does not count."""
    spent: dict[str, list[tuple[float, float]]] = {"one": [], "eight": []}
    loads: list[float | None] = []
    for number in range(repetitions + 1):
        with tell_load(loads):
            for name, way in (("one", one), ("eight", eight)):
                cpu, wall = time.process_time(), time.perf_counter()
                way()
                if number:
                    taken = time.process_time() - cpu, time.perf_counter() - wall
                    spent[name].append(taken)
    pairs = list(zip(spent["one"], spent["eight"], strict=True))
    return {
        "cpu_ratio": statistics.median(b[0] / a[0] for a, b in pairs),
        "wall_ratio": statistics.median(b[1] / a[1] for a, b in pairs),
        "cpu_seconds": {k: [round(cpu, 3) for cpu, _ in v] for k, v in spent.items()},
        "cores_busy_elsewhere": loads[1:],
    }


def main() -> int:
    """Measures, prints, saves; 1 where the bar is missed."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--out", type=Path, help="write the figures to this JSON file")
    parser.add_argument("--threads", type=int, default=1, help="default 1")
    parser.add_argument("--repetitions", type=int, default=5, help="default 5")
    args = parser.parse_args()
    torch.set_num_threads(args.threads)
    rows = []
    with tempfile.TemporaryDirectory() as folder:
        file = Path(folder) / "resnet18.pth"
        torch.manual_seed(0)
        torch.save(build_backbone(resolve_unread(config(file, 32, {}))).state_dict(), file)
        for kind, sizes in (("run", RUNS), ("step", STEPS)):
            for size, classes in sizes:
                one, eight = (config(file, size, heads) for heads in ({}, EIGHT))
                if kind == "run":
                    ways = partial(linear, one), partial(linear, eight)
                else:
                    ways = step(one, classes), step(eight, classes)
                found = compared(*ways, args.repetitions)
                row = {"what": kind, "size": size, "classes": classes, **found}
                row["met"] = row["cpu_ratio"] < BAR
                rows.append(row)
                told = f"{kind}, {size} px, {classes} classes"
                verdict = "ok" if row["met"] else "MISSED"
                ratios = f"{row['cpu_ratio']:.3f} (wall {row['wall_ratio']:.3f})"
                print(f"{told:<32}{ratios}  < {BAR}  {verdict}", flush=True)
    setting = f"ResNet-18 (ImageNet's stem), batch {BATCH}, augmented; eight heads beside one"
    told = {"setting": setting, "repetitions": args.repetitions, "rows": rows}
    save(args.out, {"benchmark": "heads", **conditions(), **told})
    return 0 if all(row["met"] for row in rows) else 1


if __name__ == "__main__":
    raise SystemExit(main())

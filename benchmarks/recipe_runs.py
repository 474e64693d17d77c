# SPDX-License-Identifier: MIT
"""The CIFAR recipes as they stand, for fewer epochs, on CIFAR-10: k-NN of each, side by side.

    python benchmarks/recipe_runs.py --data DIR/cifar10 --epochs 50 --out benchmarks/results/x.json

Parquet files named train-* and test-*. Every run is a ``mixmask-pretrain`` of its own, all at once
on one device, then ``mixmask-knn`` with MoCo's protocol (the head's output, k = 200, T = 0.1) and
solo-learn's. Single runs, far shorter than the papers': what they show is how the recipes begin.
"""

from __future__ import annotations

import argparse
import csv
import json
import subprocess
import sys
import tempfile
import time
from pathlib import Path
from typing import Any

from conditions import conditions, save

RECIPES = Path(__file__).parents[1] / "scripts" / "pretrain" / "cifar"
RECORDS = ("val_knn_acc1", "val_acc1", "train_embedding_std_epoch")


def start(recipe: str, args: argparse.Namespace, folder: Path) -> subprocess.Popen[str]:
    """One training process; what it prints goes into a file."""
    command = [
        *(sys.executable, "-m", "mixmask_solo.cli.pretrain"),
        *("--config-path", str(RECIPES), "--config-name", recipe),
        "data.dataset=cifar10",
        f"data.train_path={next(args.data.glob('train-*'))}",
        f"data.val_path={next(args.data.glob('test-*'))}",
        "++data.format=resident",
        "++data.storage=parquet",
        f"max_epochs={args.epochs}",
        f"precision={args.precision}",
        f"seed={args.seed}",
        "devices=1",
        "strategy=auto",
        f"checkpoint.dir={folder / recipe}",
        *args.override,
    ]
    with (folder / f"{recipe}.log").open("w") as log:
        return subprocess.Popen(command, stdout=log, stderr=subprocess.STDOUT, text=True)


def knn(recipe: str, folder: Path) -> dict[str, Any]:
    """What ``mixmask-knn`` finds of a finished run."""
    found = folder / f"{recipe}-knn.json"
    [run] = (folder / recipe).rglob("last.ckpt")
    command = [sys.executable, "-m", "mixmask_solo.cli.knn", "--pretrained_checkpoint", str(run)]
    subprocess.run([*command, "--out", str(found)], check=True, stdout=subprocess.DEVNULL)
    rows = json.loads(found.read_text())["rows"]
    return {f"{row['features']} k={row['k']} T={row['temperature']}": row["acc1"] for row in rows}


def curve(recipe: str, folder: Path) -> dict[str, list[float]]:
    """Figures of each epoch that ``metrics.csv`` has."""
    [place] = (folder / recipe).rglob("metrics.csv")
    found: dict[str, list[float]] = {name: [] for name in RECORDS}
    for row in csv.DictReader(place.open()):
        for name in RECORDS:
            if row.get(name):
                found[name].append(float(row[name]))
    return found


def main() -> int:
    """Runs, prints, saves; exit status 1 where a run failed."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--data", type=Path, required=True, help="folder with the Parquet files")
    parser.add_argument("--recipes", nargs="+", default=["mocov2", "mocov2_mixmask"])
    parser.add_argument("--epochs", type=int, default=50)
    parser.add_argument("--precision", default="bf16-mixed")
    parser.add_argument("--seed", type=int, default=5)
    parser.add_argument("--override", nargs="*", default=[], help="of every recipe")
    parser.add_argument("--out", type=Path)
    args = parser.parse_args()
    with tempfile.TemporaryDirectory() as place:
        folder, begun = Path(place), time.perf_counter()
        running = {recipe: start(recipe, args, folder) for recipe in args.recipes}
        failed = [recipe for recipe, process in running.items() if process.wait()]
        seconds = round(time.perf_counter() - begun)
        for recipe in failed:
            print((folder / f"{recipe}.log").read_text()[-2000:])
        rows = [
            {"recipe": recipe, "knn": knn(recipe, folder), "epochs": curve(recipe, folder)}
            for recipe in args.recipes
            if recipe not in failed
        ]
    for row in rows:
        figures = "  ".join(f"{name} {value:.2f}" for name, value in row["knn"].items())
        print(f"{row['recipe']:24} {figures}")
    options = {k: str(v) for k, v in vars(args).items() if k not in ("out", "data")}
    result = {"benchmark": "recipe_runs", **conditions(), "options": options}
    save(args.out, {**result, "training_seconds": seconds, "rows": rows})
    return 1 if failed else 0


if __name__ == "__main__":
    raise SystemExit(main())

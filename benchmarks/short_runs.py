# SPDX-License-Identifier: MIT
"""Does every method learn? Some hundred steps on real images, with each strategy's recipe, or with
its block; saliency's localiser is a network trained on digits.

    python benchmarks/short_runs.py --data DIR/cifar10 --out benchmarks/results/short-runs.json

Trains a small backbone on a class-balanced part of CIFAR-10 (Parquet files named train-* and
test-*) with the CIFAR views of each method's recipe and one optimiser for all, then measures
weighted k-NN (cosine, k=20, T=0.07) of the trained and of the untrained network on the whole test
split. A check that nothing is broken, not a comparison of methods: the training is far too short.
Exit status 1 where a loss does not fall, an embedding collapses, k-NN stays below the untrained
network's, or a slot of ADIOS ends up covering less than 2 % or more than 90 %.
"""

from __future__ import annotations

import argparse
import atexit
import csv
import shutil
import tempfile
from functools import cache
from pathlib import Path
from typing import Any

import torch
from conditions import conditions, save

from mixmask_solo.cli.compose import compose
from mixmask_solo.cli.ending import quiet
from mixmask_solo.evaluation.run_knn import evaluate_knn
from mixmask_solo.records.registry.record import METRICS
from mixmask_solo.runs.pretrain import pretrain

METHODS = ("mocov2", "mocov2plus", "byol", "simclr", "simsiam")
BLOCKS = {  # those that no recipe for CIFAR has; ADIOS as in the recipe for digits
    "mscn": {"patch_size": 8},
    "adios": {"slots": 3, "single": "true", "alpha": 0.5, "lr": 0.1},
}
SLOT = (0.02, 0.9)  # share of an image that a living slot of ADIOS covers
STRATEGIES = ("vanilla", "mixmask", "unmix", "mixmask_unmix", "erase", "noise", "saliency", *BLOCKS)
RECIPES = Path(__file__).parents[1] / "scripts" / "pretrain" / "cifar"


@cache
def localizer(epochs: int) -> str:
    """Folder of a run of SimCLR on digits, whose network is saliency's localiser."""
    folder = tempfile.mkdtemp()
    atexit.register(shutil.rmtree, folder)
    changes = [f"max_epochs={epochs}", "data.num_workers=0", f"checkpoint.dir={folder}"]
    result = pretrain(compose(str(RECIPES.parent / "digits"), "simclr", changes))
    return str(result["directory"])


def overrides(method: str, strategy: str, args: argparse.Namespace, folder: str) -> list[str]:
    """What makes a CIFAR recipe a short run, or one with saliency, which has no recipe there."""
    changes = [
        "data.dataset=parquet",
        "data.format=parquet",
        f"data.train_path={next(args.data.glob('train-*'))}",
        f"data.val_path={next(args.data.glob('test-*'))}",
        f"data.fraction={args.fraction}",
        "data.num_workers=0",
        f"backbone.name={args.backbone}",
        "backbone.stem=auto",
        "optimizer.name=adamw",
        f"optimizer.lr={256 * args.lr / args.batch}",
        f"optimizer.classifier_lr={256 * args.lr / args.batch}",
        "optimizer.weight_decay=1e-4",
        "optimizer.kwargs=null",
        f"optimizer.batch_size={args.batch}",
        "scheduler.name=warmup_cosine",
        "scheduler.warmup_epochs=0.5",
        "scheduler.interval=step",
        f"max_epochs={args.epochs}",
        "limit_val_batches=1",
        "accelerator=auto",
        "devices=1",
        "strategy=auto",
        "precision=32",
        f"checkpoint.dir={folder}",
    ]
    if method in ("mocov2", "mocov2plus"):
        changes += [f"method_kwargs.queue_size={4 * args.batch}"]
    if strategy == "saliency":
        block = "method_kwargs.saliency.localizer"
        run = localizer(args.localizer_epochs)
        changes += [f"{block}.from_run={run}", f"{block}.stage=2"]  # 4x4 cells at 32 pixels
    return [f"++{change}" for change in changes]  # set, whether the recipe has the key or not


def losses(directory: Path) -> list[float]:
    """Mean training loss of the method itself, epoch by epoch."""
    names = ("train_nce_loss_epoch", "train_neg_cos_sim_epoch")
    found = []
    for row in csv.DictReader((directory / METRICS).open()):
        found += [float(row[n]) for n in names if row.get(n)]
    return found


def short_run(method: str, strategy: str, args: argparse.Namespace) -> dict[str, Any]:
    """One row of the table."""
    with tempfile.TemporaryDirectory() as folder:
        name = method if strategy in ("vanilla", "saliency", *BLOCKS) else f"{method}_{strategy}"
        changes = overrides(method, strategy, args, folder)
        changes += [
            f"++method_kwargs.{strategy}.{k}={v}" for k, v in BLOCKS.get(strategy, {}).items()
        ]
        cfg = compose(str(RECIPES), name, changes)
        result = pretrain(cfg)
        directory = Path(result["directory"])
        knn = evaluate_knn(directory / "last.ckpt", baselines=True)
        curve = losses(directory)
    metrics = result["metrics"]
    return {
        "method": method,
        "strategy": strategy,
        "steps": result["steps"],
        "loss_first": curve[0],
        "loss_last": curve[-1],
        "loss_epochs": curve,
        "embedding_std": metrics["train_embedding_std"],
        "mixtures": {k: v for k, v in metrics.items() if "mix" in k or strategy in k},
        "knn": knn["trained"],
        "knn_untrained": knn["untrained"],
        "seconds": result["wall_seconds"],
        "images_per_second": result["images_per_second"],
    }


def broken(row: dict[str, Any]) -> bool:
    """Whether a run did not learn what it should."""
    areas = [v for k, v in row["mixtures"].items() if "adios_area" in k]
    return (
        row["loss_last"] >= row["loss_first"]
        or row["embedding_std"] < 0.01
        or row["knn"] <= row["knn_untrained"]
        or any(not SLOT[0] <= area <= SLOT[1] for area in areas)
    )


def main() -> int:
    """Runs, prints, saves."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--data", type=Path, required=True, help="folder with the Parquet files")
    parser.add_argument("--methods", nargs="+", default=list(METHODS), choices=METHODS)
    parser.add_argument(
        "--strategies", nargs="+", default=["vanilla", "mixmask"], choices=STRATEGIES
    )
    parser.add_argument("--backbone", default="resnet10t", help="any small backbone")
    parser.add_argument("--fraction", type=float, default=0.1)
    parser.add_argument("--batch", type=int, default=64)
    parser.add_argument("--epochs", type=int, default=4)
    parser.add_argument("--lr", type=float, default=1e-3, help="as it is used, not per 256 images")
    parser.add_argument("--localizer-epochs", type=int, default=10, help="on digits, for saliency")
    parser.add_argument("--threads", type=int, default=torch.get_num_threads())
    parser.add_argument("--out", type=Path)
    args = parser.parse_args()
    torch.set_num_threads(args.threads)
    quiet()
    options = {k: str(v) for k, v in vars(args).items() if k not in ("out", "data")}
    about = {"benchmark": "short_runs", **conditions(), "options": options}
    rows: list[dict[str, Any]] = []
    print(
        f"{'method':12}{'strategy':>14}{'loss':>16}{'std':>7}{'k-NN':>7}{'untrained':>10}{'s':>6}"
    )
    for method in args.methods:
        for strategy in args.strategies:
            r = short_run(method, strategy, args)
            rows.append(r)
            fall = f"{r['loss_first']:.3f} -> {r['loss_last']:.3f}"
            print(
                f"{method:12}{strategy:>14}{fall:>16}{r['embedding_std']:7.3f}{r['knn']:7.1f}"
                f"{r['knn_untrained']:10.1f}{r['seconds']:6.0f}",
                flush=True,
            )
            save(args.out, {**about, "rows": rows})
    return 1 if any(map(broken, rows)) else 0


if __name__ == "__main__":
    raise SystemExit(main())

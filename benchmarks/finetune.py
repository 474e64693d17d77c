# SPDX-License-Identifier: MIT
"""Fine-tuning after pretraining against the same network from scratch, on 10 % of digits' labels.

    python benchmarks/finetune.py --out benchmarks/results/finetune-digits-cpu.json
    python benchmarks/finetune.py --budget 5 --out benchmarks/results/finetune-digits-short-cpu.json

Pretrains scripts/pretrain/digits/simclr_mixmask once, as it is, then trains
scripts/finetune/digits/sgd on a tenth of the labels, from the pretrained network and from scratch,
with equal epochs (--budget), images and classifier's rate. Of both the best of three rates counts,
chosen by a seed that counts in no figure. The figures are of five further seeds, each of which
draws labels, order, crops and start anew. Exit status 1 where fine-tuning is not 3 points ahead.
"""

from __future__ import annotations

import argparse
import statistics
import tempfile
import time
from pathlib import Path
from typing import Any

import torch
from conditions import conditions, save, tell_load

from mixmask_solo.cli.compose import compose
from mixmask_solo.runs.finetune import finetune
from mixmask_solo.runs.pretrain import pretrain

SCRIPTS = Path(__file__).parents[1] / "scripts"
RATES = {"fine-tuned": (0.01, 0.03, 0.1), "from scratch": (0.1, 0.4, 1.6)}  # per 256 images
AHEAD = 3.0  # points
TUNING = 0  # the seed that chooses rates
COMMON = ("accelerator=cpu", "data.format=resident")


def pretrained(folder: Path, epochs: int | None) -> str:
    """A checkpoint of the digits' recipe."""
    given = [f"checkpoint.dir={folder}", *COMMON, *([f"max_epochs={epochs}"] if epochs else [])]
    result = pretrain(compose(str(SCRIPTS / "pretrain" / "digits"), "simclr_mixmask", given))
    return f"{result['directory']}/last.ckpt"


def top1(checkpoint: str, rate: float, seed: int, epochs: int, folder: Path) -> dict[str, Any]:
    """A training on the labels, and the top-1 of its last epoch, the only one that is measured."""
    cfg = compose(
        str(SCRIPTS / "finetune" / "digits"),
        "sgd",
        [
            f"pretrained_feature_extractor={checkpoint}",
            *("data.fraction=0.1", f"optimizer.lr={rate}", f"seed={seed}"),
            *(f"max_epochs={epochs}", f"check_val_every_n_epoch={epochs}"),
            f"scheduler.lr_decay_steps=[{round(0.6 * epochs)},{round(0.8 * epochs)}]",
            "checkpoint.enabled=false",
            *(f"checkpoint.dir={folder}", *COMMON),
        ],
    )
    result = finetune(cfg)
    row = {"rate": rate, "seed": seed, "top1": result["metrics"]["val_acc1"]}
    return row | {"images": result["data"]["train"]["images"], "seconds": result["wall_seconds"]}


def main() -> int:
    """Trains, prints, saves; 1 where the bar is missed."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--out", type=Path, help="write the figures to this JSON file")
    parser.add_argument("--seeds", type=int, default=5, help="default 5")
    parser.add_argument("--budget", type=int, default=20, help="epochs on labels; default 20")
    parser.add_argument("--epochs", type=int, help="of the pretraining; default: the recipe's")
    parser.add_argument("--checkpoint", help="take this run of the recipe in place of a new one")
    parser.add_argument("--threads", type=int, default=1, help="default 1")
    args = parser.parse_args()
    torch.set_num_threads(args.threads)
    loads: list[float | None] = []
    start, sides = time.perf_counter(), {}
    with tempfile.TemporaryDirectory() as temporary, tell_load(loads):
        folder = Path(temporary)
        network = args.checkpoint or pretrained(folder, args.epochs)
        for side, checkpoint in (("fine-tuned", network), ("from scratch", "null")):
            tried = [top1(checkpoint, rate, TUNING, args.budget, folder) for rate in RATES[side]]
            best = max(tried, key=lambda row: row["top1"])["rate"]
            seeds = range(TUNING + 1, TUNING + 1 + args.seeds)
            runs = [top1(checkpoint, best, seed, args.budget, folder) for seed in seeds]
            figures = [run["top1"] for run in runs]
            mean, std = statistics.mean(figures), statistics.stdev(figures)
            sides[side] = {"tried": tried, "runs": runs, "mean": mean, "std": std}
            print(f"{side:<14}{mean:6.2f} ± {std:.2f} %  n {len(runs)}, lr {best}", flush=True)
    ahead = sides["fine-tuned"]["mean"] - sides["from scratch"]["mean"]
    met = ahead >= AHEAD
    print(f"ahead {ahead:.2f} points, bar >= {AHEAD}: {'ok' if met else 'MISSED'}")
    length = "as long as the recipe" if args.epochs is None else f"{args.epochs} epochs"
    setting = (
        f"digits, resnet10t, 10 % of the labels of each class, {args.budget} epochs at batch 16, "
        f"classifier's rate 0.5 per 256; pretrained with SimCLR + MixMask, {length}"
    )
    told = {"setting": setting, **sides, "ahead": ahead, "bar": AHEAD, "met": met}
    seconds = round(time.perf_counter() - start, 1)
    told |= {"seconds": seconds, "other_load": loads[0]}
    save(args.out, {"benchmark": "finetune", **conditions(), **told})
    return 0 if met else 1


if __name__ == "__main__":
    raise SystemExit(main())

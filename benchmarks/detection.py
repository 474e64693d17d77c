# SPDX-License-Identifier: MIT
"""Learns a detector to detect within minutes of two cores: boxes of blood cells, masks of shapes.

    python benchmarks/detection.py bccd --data FOLDER [--weights CKPT] --out FILE
    python benchmarks/detection.py shapes --out FILE

``bccd`` fine-tunes ResNet-18-C4 by ``scripts/detect/bccd/c4.yaml``, from random weights or a
checkpoint. ``shapes`` trains Mask R-CNN by ``scripts/detect/shapes/c4.yaml`` on circles, squares
and triangles over scikit-learn's two photographs, which it draws first. Either is also measured
before the first step that counts: after one step at a rate of 1e-12.
"""

from __future__ import annotations

import argparse
import json
import tempfile
import time
from pathlib import Path
from typing import Any

import torch
from conditions import conditions, save, tell_load
from shapes import draw_shapes

from mixmask_solo.cli.compose import compose
from mixmask_solo.runs.detect import detect

SCRIPTS = Path(__file__).parents[1] / "scripts" / "detect"
_UNTRAINED = ("max_steps=1", "eval_every=1", "optimizer.lr=1e-12", "scheduler.milestones=[]")


def run(name: str, folder: Path, overrides: list[str]) -> dict[str, Any]:
    """One run of ``scripts/detect/<name>/c4.yaml``; its metrics and what they took."""
    common = ["accelerator=cpu", f"checkpoint.dir={folder}", "data.num_workers=0"]
    cfg = compose(str(SCRIPTS / name), "c4", [*common, *overrides])
    cpu = time.process_time()
    result = detect(cfg)
    stored = json.loads((Path(result["directory"]) / "result.json").read_text())
    metrics = {k: round(v, 2) for k, v in stored["metrics"].items() if k.startswith("val_")}
    return {
        "metrics": metrics,
        "steps": stored["steps"],
        "train_minutes": round(stored["pieces"][-1]["train_seconds"] / 60, 1),
        "wall_minutes": round(stored["wall_seconds"] / 60, 1),
        "cpu_minutes": round((time.process_time() - cpu) / 60, 1),
        "faults": {k: {n: v for n, v in f.items() if n != "for_instance"}
                   for k, f in stored["faults"].items()},
    }  # fmt: skip


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("what", choices=("bccd", "shapes"))
    parser.add_argument("--data", type=Path, help="BCCD in Pascal VOC's layout")
    parser.add_argument("--weights", help="a checkpoint to start from; default: random weights")
    parser.add_argument("--of", default="", help="what the checkpoint is, for the record")
    parser.add_argument("--out", type=Path)
    parser.add_argument("--runs", type=Path, help="keeps the runs here")
    parser.add_argument("overrides", nargs="*", help="key=value of both runs")
    args = parser.parse_intermixed_args()
    with tempfile.TemporaryDirectory() as temporary:
        folder = args.runs or Path(temporary)
        given = [f"pretrained_feature_extractor={args.weights or 'null'}", *args.overrides]
        if args.what == "bccd":
            given += [f"data.{split}_path={args.data}" for split in ("train", "val")]
        else:
            for split, count, seed in (("train", 200, 0), ("val", 40, 1)):
                file = draw_shapes(folder / split, count, seed)
                given += [f"data.{split}_path={file}", f"data.{split}_images={folder / split}"]
        loads: list[float | None] = []
        with tell_load(loads):
            trained = run(args.what, folder, given)
        untrained = run(args.what, folder, [*given, *_UNTRAINED])
    start = "random weights" if args.weights is None else (args.of or args.weights)
    content = {
        "conditions": {**conditions(), "other_processes_cores": loads[0]},
        "what": args.what,
        "start": start,
        "untrained": untrained,
        "trained": trained,
    }
    print(json.dumps(content, indent=2))
    save(args.out, content)


if __name__ == "__main__":
    torch.set_float32_matmul_precision("highest")
    main()

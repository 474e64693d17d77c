# SPDX-License-Identifier: MIT
"""Part of ``gpu.py``: detectors at their papers' sizes, and what a small one learns."""

import argparse
import json
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any
from unittest.mock import patch

import torch
from figures import Figure
from lightning.pytorch import Callback

from mixmask_solo.cli.compose import compose
from mixmask_solo.runs import train
from mixmask_solo.runs.detect import detect as run_detector
from mixmask_solo.runs.trainer import build_trainer

ROOT = Path(__file__).parents[1]
IMAGES, PASSES = 8, 2  # of a pass, and passes of a step: 16 images, as the papers have it
WARM, STEPS = 10, 30
SHAPES = 40.0  # mask AP50 after 600 steps; 47.5 on a CPU (detection-shapes.json)


class Clock(Callback):
    """Images/s after the first steps, reading included."""

    def __init__(self) -> None:
        self.rate = 0.0
        self._start: float | None = None

    def on_train_batch_end(self, trainer: Any, module: Any, *rest: Any) -> None:
        begins = self._start is None and trainer.global_step == WARM
        if not begins and (trainer.global_step != STEPS or self.rate):
            return
        if module.device.type == "cuda":
            torch.cuda.synchronize()
        if self._start is None:
            self._start = time.perf_counter()
        else:
            images = (STEPS - WARM) * IMAGES * PASSES
            self.rate = images / (time.perf_counter() - self._start)


def config(folder: Path, name: str, precision: str, place: str, *more: str) -> Any:
    """R50-C4 of VOC, or COCO's Mask R-CNN with a pyramid but for the masks; on other images."""
    here = [f"data.{split}_path={folder}" for split in ("train", "val")]
    here += ["data.train_sets=[train]", "data.val_sets=[val]", "data.dataset=bccd"]
    length = [f"max_steps={STEPS}", f"eval_every={STEPS}", "scheduler.milestones=[]"]
    length += ["limit_val_batches=2", "precise_bn=2", "scheduler.warmup_steps=20"]
    size = [f"optimizer.batch_size={IMAGES}", f"accumulate_grad_batches={PASSES}"]
    where = ["accelerator=gpu", "devices=1", f"precision={precision}", f"checkpoint.dir={place}"]
    kind = [f"detector={name}", "pretrained_feature_extractor=null"]
    kind += ["++data.classes=[Platelets,RBC,WBC]"]
    voc = str(ROOT / "scripts" / "detect" / "voc")
    return compose(voc, "c4", [*kind, *here, *length, *size, *where, *more])


def rate(cfg: Any) -> float:
    """Images/s of a run."""
    clock = Clock()

    def build(cfg: Any, callbacks: Any) -> Any:
        return build_trainer(cfg, [*callbacks, clock])

    with patch.object(train, "build_trainer", build):
        run_detector(cfg)
    return clock.rate


def detect(args: argparse.Namespace) -> Iterator[Figure]:
    """Images/s and memory of ResNet-50's detectors, 480 to 800 px; then what one learns."""
    for name in ("c4", "fpn"):
        for precision in ("32", "bf16-mixed"):
            what = f"detector, R50-{name.upper()}, {precision}"
            torch.cuda.empty_cache()
            torch.cuda.reset_peak_memory_stats()
            try:
                with tempfile.TemporaryDirectory() as place:
                    value = rate(config(args.data / "bccd", name, precision, place))
            except torch.cuda.OutOfMemoryError as error:
                yield Figure(what, why=str(error).splitlines()[0])
                continue
            more = {"images of a pass": IMAGES, "steps": STEPS - WARM}
            yield Figure(f"{what}: images/s", value, more=more)
            peak = torch.cuda.max_memory_allocated() / 1e9
            yield Figure(f"{what}: GB of the GPU", peak)
    yield _learnt()


def _learnt() -> Figure:
    """Mask R-CNN on generated shapes, as ``detection.py`` trains it on a CPU."""
    with tempfile.TemporaryDirectory() as place:
        out = Path(place) / "shapes.json"
        command = [sys.executable, Path(__file__).with_name("detection.py"), "shapes"]
        command += ["--out", out, "accelerator=gpu"]
        done = subprocess.run(command, capture_output=True, text=True, check=False)
        what = "Mask R-CNN on shapes: mask AP50"
        if not out.is_file():
            return Figure(what, why=(done.stderr.splitlines() or ["no output"])[-1])
        told = json.loads(out.read_text())["trained"]
        return Figure(what, told["metrics"]["val_mask_ap50"], SHAPES, more=told)

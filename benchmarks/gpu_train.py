# SPDX-License-Identifier: MIT
"""Parts of ``gpu.py``: waits within a step, its speed, the online k-NN, resuming."""

import argparse
import json
import subprocess
import sys
import tempfile
import time
import traceback
from collections.abc import Iterator
from pathlib import Path
from typing import Any
from unittest.mock import patch

import torch
from figures import Figure, holds
from lightning.pytorch import Callback
from omegaconf import DictConfig, OmegaConf
from step import METHODS, STRATEGIES, blocks_of

from mixmask_solo.host.builtin.online_knn import WeightedKNN
from mixmask_solo.records.checkpoints import LAST, read_checkpoint
from mixmask_solo.runs import train
from mixmask_solo.runs.interrupt import Interrupted, InterruptSaver
from mixmask_solo.runs.pretrain import pretrain
from mixmask_solo.runs.trainer import build_trainer

FIRST, LAST_STEP = 2, 5  # steps that must not wait; kernels are chosen in those before
STEP = Path(__file__).with_name("step.py")


def config(key: str, mixtures: str, **more: Any) -> DictConfig:
    """A run of a few steps on the digits, which are augmented where the network is."""
    kwargs, optimizer = METHODS[key]
    base = {
        "name": "gpu",
        "method": key.partition("_")[0],
        "host": "builtin",
        "backbone": {"name": "resnet18"},
        "method_kwargs": {**kwargs, **blocks_of(mixtures, "resnet18")},
        "data": {"dataset": "digits", "format": "resident"},
        "augmentations": [{"crop_size": 32, "num_crops": 2}],
        "optimizer": {
            **optimizer,
            "batch_size": 64,
            "lr": 0.03,
            "classifier_lr": 0.1,
            "weight_decay": 1e-4,
        },
        "scheduler": {"name": "none"},
        "max_epochs": 1,
        "limit_train_batches": LAST_STEP + 1,
        "accelerator": "gpu",
        "devices": 1,
    }
    return OmegaConf.merge(base, more)  # type: ignore[return-value]


class Strict(Callback):
    """From the third step of an epoch to its sixth, waiting for the GPU is an error."""

    def __init__(self) -> None:
        self.strict: list[int] = []  # steps that had to do without

    def on_train_batch_start(self, trainer: Any, module: Any, batch: Any, number: int) -> None:
        if FIRST <= number < LAST_STEP:
            self.strict.append(number)
        if module.device.type == "cuda":
            torch.cuda.set_sync_debug_mode("error" if FIRST <= number < LAST_STEP else "default")


def waiting(cfg: DictConfig) -> tuple[str, list[int]]:
    """What waited for the GPU in a whole run, and the steps that were watched."""
    strict = Strict()

    def build(cfg: DictConfig, callbacks: Any) -> Any:
        return build_trainer(cfg, [*callbacks, strict])

    try:
        with tempfile.TemporaryDirectory() as place, patch.object(train, "build_trainer", build):
            pretrain(OmegaConf.merge(cfg, {"checkpoint": {"dir": place}}))  # type: ignore[arg-type]
    except RuntimeError as error:
        frames = traceback.extract_tb(error.__traceback__)
        ours = [f for f in frames if "mixmask_solo" in f.filename] or frames
        text = " ".join(str(error).split())
        return f"{Path(ours[-1].filename).name}:{ours[-1].lineno}: {text}", strict.strict
    finally:
        if torch.cuda.is_available():
            torch.cuda.set_sync_debug_mode("default")
    return "", strict.strict


def sync(args: argparse.Namespace) -> Iterator[Figure]:
    """Every method's step, with loader, logging and k-NN, under the debug mode for waits."""
    for precision in ("32", "bf16-mixed"):
        for method in METHODS:
            for strategy in STRATEGIES:
                more = {"precision": precision, "knn_eval": {"enabled": True}}
                problem, steps = waiting(config(method, strategy, limit_val_batches=0, **more))
                if not problem and len(steps) != LAST_STEP - FIRST:
                    problem = f"only steps {steps} were watched"
                yield holds(f"no wait: {method}, {strategy}, {precision}", problem)


def step(args: argparse.Namespace) -> Iterator[Figure]:
    """``step.py`` with ResNet-50, 224 px, batch 256: bf16, float32, compiled."""
    sizes = ["--backbone", "resnet50", "--size", "224", "--batch", "256", "--repeats", "5"]
    told = subprocess.run([sys.executable, STEP, "--help"], capture_output=True, text=True)
    variants = {"bf16": ["--precision", "bf16"], "float32": [], "compiled": ["--compile"]}
    variants["compiled"] += variants["bf16"]
    if "--compile" not in told.stdout:
        del variants["compiled"]
        yield Figure("floor / step, compiled", why="step.py has no --compile")
    with tempfile.TemporaryDirectory() as place:
        for name, options in variants.items():
            for method in ("mocov2plus", "simclr", "byol", "simsiam", "mocov2"):
                out = Path(place) / f"{name}-{method}.json"
                wanted = ["--methods", method, "--strategies", "vanilla", "mixmask"]
                command = [sys.executable, STEP, *sizes, *wanted, *options, "--out", out]
                done = subprocess.run(command, capture_output=True, text=True)
                what = f"floor / step, {name}, {method}"
                if not out.is_file():
                    yield Figure(what, why=(done.stderr.splitlines() or ["no output"])[-1])
                    continue
                for row in json.loads(out.read_text())["rows"]:
                    value = row["floor_over_step"]
                    if name == "compiled":  # the row has both; its floor is eager
                        value = row["floor_ms"] / row["compiled_ms"]
                    yield Figure(f"{what}, {row['strategy']}", value, 0.92, more=row)


def knn(
    args: argparse.Namespace, images: int = 1_281_167, queries: int = 50_000, device: str = "cuda"
) -> Iterator[Figure]:
    """The online k-NN over two crops of as many images as ImageNet has, of ResNet-50's width."""
    width, classes, batch = 2048, 1000, 256
    for dtype, home in (("float16", "device"), ("float16", "cpu"), ("float32", "device")):
        found = WeightedKNN(200, "cosine", dtype, home)
        if device == "cuda":
            torch.cuda.empty_cache()
            torch.cuda.reset_peak_memory_stats()
        start = time.perf_counter()
        try:
            for _ in range(-(-2 * images // batch)):
                rows = torch.randn(batch, width, device=device)
                found.update(rows, torch.randint(classes, (batch,), device=device))
            for _ in range(-(-queries // batch)):
                rows = torch.randn(batch, width, device=device)
                labels = torch.randint(classes, (batch,), device=device)
                found.update(test_features=rows, test_targets=labels)
            _wait(device)
            fed = time.perf_counter()
            top1 = found.compute().top1
            _wait(device)
        except torch.cuda.OutOfMemoryError as error:
            yield Figure(f"k-NN, bank of {dtype} on the {home}", why=str(error).splitlines()[0])
            continue
        seconds = {"feeding": fed - start, "searching": time.perf_counter() - fed}
        peak = torch.cuda.max_memory_allocated() / 1e9 if device == "cuda" else 0.0
        more = {**seconds, "images": images, "queries": queries, "k": 200, "top1": top1}
        yield Figure(f"k-NN, bank of {dtype} on the {home}: s", seconds["searching"], more=more)
        yield Figure(f"k-NN, bank of {dtype} on the {home}: GB of the GPU", peak)


def _wait(device: str) -> None:
    if device == "cuda":
        torch.cuda.synchronize()


def resume(args: argparse.Namespace, accelerator: str = "gpu") -> Iterator[Figure]:
    """A run that stopped within its second epoch ends with the weights of one that did not."""
    for method in METHODS:
        with tempfile.TemporaryDirectory() as place:
            yield holds(f"resumed bit for bit: {method}", _resumed(method, place, accelerator))


def _resumed(method: str, place: str, accelerator: str) -> str:
    """Names of weights that differ; empty for none."""

    def cfg(name: str, **more: Any) -> DictConfig:
        folder = {"enabled": True, "dir": f"{place}/{name}"}
        epochs = {"max_epochs": 2, "limit_val_batches": 1}
        where = {"accelerator": accelerator, "deterministic": True}
        return config(method, "mixmask_unmix", checkpoint=folder, **epochs, **where, **more)

    def weights(result: dict[str, Any]) -> dict[str, Any]:
        state: dict[str, Any] = read_checkpoint(Path(result["directory"]) / LAST)["state_dict"]
        return state

    original = InterruptSaver.on_train_batch_start

    def stop(self: Any, trainer: Any, module: Any, batch: Any, number: int) -> None:
        self.requested |= (trainer.current_epoch, number) == (1, 2)
        original(self, trainer, module, batch, number)

    straight = weights(pretrain(cfg("straight")))
    with patch.object(InterruptSaver, "on_train_batch_start", stop):
        try:
            pretrain(cfg("stopped"))
            return "it could not be stopped"
        except Interrupted as stopped:
            saved = str(stopped.checkpoint)
    resumed = weights(pretrain(cfg("stopped", resume_from_checkpoint=saved)))
    differ = [name for name, x in straight.items() if not torch.equal(x, resumed[name])]
    return f"{len(differ)} of {len(straight)} tensors differ: {differ[:3]}" if differ else ""

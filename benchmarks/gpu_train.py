# SPDX-License-Identifier: MIT
"""Parts of ``gpu.py``: waits within a step, its speed, the online k-NN, resuming."""

import argparse
import itertools
import json
import multiprocessing
import os
import subprocess
import sys
import tempfile
import time
import traceback
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import ProcessPoolExecutor
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
        "method_kwargs": {**kwargs, **blocks_of(mixtures, "resnet18", 32)},
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
    every = itertools.product(("32", "bf16-mixed"), METHODS, STRATEGIES)
    jobs = [(method, strategy, precision) for precision, method, strategy in every]
    for job, problem in zip(jobs, _beside(_waits, jobs), strict=True):
        yield holds(f"no wait: {', '.join(job)}", problem)


def _waits(method: str, strategy: str, precision: str) -> str:
    more = {"precision": precision, "knn_eval": {"enabled": True}}
    problem, steps = waiting(config(method, strategy, limit_val_batches=0, **more))
    if not problem and len(steps) != LAST_STEP - FIRST:
        return f"only steps {steps} were watched"
    return problem


def _beside(work: Callable[..., str], jobs: Sequence[Sequence[Any]]) -> Iterator[str]:
    """What each job says, in their order; nothing is timed, so several have the GPU at once."""
    context = multiprocessing.get_context("spawn")
    count = max(1, min(8, (os.cpu_count() or 1) // 2))
    with ProcessPoolExecutor(count, mp_context=context) as processes:
        futures = [processes.submit(work, *job) for job in jobs]
        for future in futures:
            try:
                yield future.result()
            except Exception as error:  # one that is broken must not hide the others
                yield f"{type(error).__name__}: {' '.join(str(error).split())}"


def step(args: argparse.Namespace) -> Iterator[Figure]:
    """``step.py`` with ResNet-50, 224 px; of the relatives what they cost beside MoCo v2 alone."""
    mixed, both = ["--precision", "bf16"], ["vanilla", "mixmask"]
    every = ["mocov2plus", "simclr", "byol", "simsiam", "mocov2"]
    relatives = ["vanilla", "mixmask", "erase", "mscn", "saliency", "saliency_mean", "adios"]
    plans = [("bf16", [*mixed, "--batch", "256"], [method], both) for method in every]
    plans += [("bf16, 128", [*mixed, "--batch", "128"], ["mocov2plus"], relatives)]
    for method in ("mocov2", "byol"):
        plans += [("compiled", [*mixed, "--batch", "256", "--compile"], [method], both)]
    plans += [("float32", ["--batch", "256"], [method], both) for method in every]
    for name, options, methods, strategies in plans:
        yield from _stepped(f"{name}, {methods[0]}", options, methods, strategies)


def _stepped(
    what: str, options: list[str], methods: list[str], strategies: list[str]
) -> Iterator[Figure]:
    with tempfile.TemporaryDirectory() as place:
        out = Path(place) / "step.json"
        command = [sys.executable, STEP, "--backbone", "resnet50", "--size", "224", "--out", out]
        command += ["--repeats", "5", "--methods", *methods, "--strategies", *strategies, *options]
        done = subprocess.run(command, capture_output=True, text=True)
        if not out.is_file():
            why = (done.stderr.splitlines() or ["no output"])[-1]
            yield Figure(f"floor / step, {what}", why=why)
            return
        rows = json.loads(out.read_text())["rows"]
    for row in rows:
        value = row["floor_over_step"]
        if "compiled_ms" in row:  # the row has both; its floor is eager
            value = row["floor_ms"] / row["compiled_ms"]
        yield Figure(f"floor / step, {what}, {row['strategy']}", value, 0.92, more=row)
        if len(rows) > 2 and row is not rows[0]:
            cost = row["step_ms"] / rows[0]["step_ms"]
            yield Figure(f"step / vanilla step, {what}, {row['strategy']}", cost)


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
    jobs = [(method, accelerator) for method in METHODS]
    for (method, _), problem in zip(jobs, _beside(_resumed, jobs), strict=True):
        yield holds(f"resumed bit for bit: {method}", problem)


def _resumed(method: str, accelerator: str) -> str:
    """Names of weights that differ; empty for none."""
    with tempfile.TemporaryDirectory() as place:
        return _differing(method, place, accelerator)


def _differing(method: str, place: str, accelerator: str) -> str:

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

# SPDX-License-Identifier: MIT
"""What a run is going to do, told before it does it."""

import shutil
import textwrap
from typing import Any

import torch
from lightning.pytorch import Trainer

from mixmask_solo.data.identity import Images
from mixmask_solo.runs.length import whole
from mixmask_solo.runs.run import Run

_WIDTH = 100  # at most
_NAMES = 10  # columns


def banner(run: Run, trainer: Trainer, images: Images, subject: str) -> str:
    """Lines on what is trained (``subject``), its blocks with their values, images, schedule,
    device and folder."""
    cfg, data = run.cfg, images.block
    rows = [("run", subject)]
    kwargs = cfg.get("method_kwargs") or {}
    blocks = {k: v for k, v in kwargs.items() if hasattr(v, "items")}
    if "method" not in cfg and blocks:  # of the pretraining nothing but its filter is used
        rows.append(("filter", f"inputs pass that of {', '.join(map(str, blocks))}, as pretrained"))
        blocks = {}
    for name, block in blocks.items():
        rows.append((str(name), _values(block)))
    val = "no" if images.val_source is None else f"{len(images.val_source):,}"
    held = "" if images.held_out is None else f" {len(images.held_out):,} held-out,"
    counts = f"{len(images.opened):,} training,{held} {val} validation images"
    where = data.get("train_path")
    source = f"{data['dataset']}" + (f" in {where}" if where else "")
    classes = f"{images.num_classes} classes" if images.train_labels != "none" else "no labels"
    rows.append(("data", f"{source}: {counts}, {classes}; decoded by {images.decoder.title}"))
    rows.append(("training", _training(run, images)))
    if cfg.get("scale"):
        rows.append(("scale", f"{cfg.scale:g}: a rehearsal, no run of the recipe"))
    rows.append(("device", _device(trainer, str(cfg.precision))))
    if (cfg.get("performance") or {}).get("compile"):
        rows.append(("compiled", "the networks, in the first steps, which takes up to minutes"))
    rows.append(("folder", _folder(run)))
    return "\n".join(line for row in rows for line in _wrapped(*row))


def _training(run: Run, images: Images) -> str:
    cfg, batch = run.cfg, images.batch_size
    cached = (cfg.get("probe") or {}).get("features") == "cached"  # whose last batch is kept
    steps = -(-len(images.opened) // batch) if cached else images.steps(run.processes)
    limit = cfg.get("limit_train_batches")
    if isinstance(limit, int):
        steps = min(steps, limit)
    elif limit is not None:
        steps = int(steps * limit)
    times = int(cfg.accumulate_grad_batches)
    how = whole(cfg, -(-steps // times))
    size = f"{batch} images"
    if run.processes > 1:
        size += f" in each of {run.processes} processes"
    if times > 1:
        size += f", {times} batches a step"
    optimizer = cfg.optimizer
    factor = times if "method" in cfg else 1  # not so in a probe
    several = hasattr(optimizer.lr, "__iter__")  # a head of a probe each
    rates = optimizer.lr if several else [optimizer.lr]
    told = ", ".join(f"{float(one) * factor:.4g}" for one in rates)
    rate = f"{optimizer.name}, learning rate{'s' * several} {told}"
    if "labels" in cfg.data:  # fine-tuned, its classifier at a rate of its own
        rate += f", the classifier's {float(optimizer.classifier_lr):.4g}"
    return f"{how}, {size}; {rate}, {cfg.scheduler.name}; seed {cfg.get('seed')}"


def _device(trainer: Trainer, precision: str) -> str:
    device = trainer.strategy.root_device
    if device.type == "cuda":
        what = f"{trainer.world_size} x {torch.cuda.get_device_name(device)}"
    else:
        threads = torch.get_num_threads()
        what = f"{device.type}, {threads} thread{'s' if threads > 1 else ''}"
        if trainer.world_size > 1:
            what = f"{trainer.world_size} processes on the {what} each"
    return f"{what}; precision {precision}"


def _folder(run: Run) -> str:
    if not run.saves:
        return f"{run.directory} (checkpoint.enabled is false: no weights are saved)"
    if run.checkpoint is not None:
        return f"{run.directory}, going on from {run.checkpoint} (step {run.steps:,})"
    return str(run.directory)


def _values(block: Any) -> str:
    return ", ".join(f"{k} {_value(v)}" for k, v in block.items() if v is not None)


def _value(value: Any) -> str:
    if isinstance(value, bool):
        return str(value).lower()
    if hasattr(value, "items"):
        return f"({_values(value)})"
    return f"{value:g}" if isinstance(value, float) else str(value)


def _wrapped(name: str, text: str) -> list[str]:
    """Paths are not cut in two: what is printed can be copied."""
    width = min(_WIDTH, shutil.get_terminal_size((_WIDTH, 0)).columns) - _NAMES
    lines = textwrap.wrap(text, width, break_long_words=False, break_on_hyphens=False) or [""]
    names = [name, *[""] * (len(lines) - 1)]
    return [f"{n:<{_NAMES}}{part}" for n, part in zip(names, lines, strict=True)]

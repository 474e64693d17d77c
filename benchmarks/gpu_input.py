# SPDX-License-Identifier: MIT
"""Parts of ``gpu.py``: DALI's pixels, images/s of the loaders, a step that is fed by them."""

import argparse
import os
import statistics
import tempfile
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any
from unittest.mock import patch

import data as loaders
import torch
from figures import Figure, holds
from omegaconf import DictConfig

from mixmask_solo.config import ConfigError
from mixmask_solo.data import build_pretrain
from mixmask_solo.data.decoders.dali.pipelines import library
from mixmask_solo.data.order.workers import core_share
from mixmask_solo.data.tools import convert, open_path
from mixmask_solo.runs.trainer import build_trainer

BATCH = 256
_STD = 0.226 * 255  # of ImageNet's normalisation, in levels
_APART = 1.5  # levels on average, as in the tests: two ways to resize
_LOADS = (0.65, 0.9, 1.0)  # shares of the hardware decoder
_READERS = (1, 4, 8)


@contextmanager
def repeated(sample: Path, images: int) -> Iterator[Path]:
    """A folder of that many images: links to those of a folder of classes, in turn."""
    files = sorted(p for p in sample.rglob("*") if p.suffix.lower() in (".jpg", ".jpeg"))
    if not files:
        raise SystemExit(f"gpu.py: there are no JPEG files in {sample}")
    with tempfile.TemporaryDirectory() as place:
        for number in range(images):
            file = files[number % len(files)]
            link = Path(place, file.parent.name, f"{number}-{file.name}")
            link.parent.mkdir(exist_ok=True)
            link.symlink_to(file.resolve())
        yield Path(place)


@contextmanager
def nothing_known() -> Iterator[None]:
    """No image was found whole by an earlier run."""
    with tempfile.TemporaryDirectory() as empty, patch.dict(os.environ, XDG_CACHE_HOME=empty):
        yield


def photos(path: Path, batch: int, **dali: Any) -> DictConfig:
    """MoCo v2's two views of photographs, made by DALI on the GPU."""
    block = {"dataset": "imagenet", "train_path": str(path), "format": "dali"}
    return loaders.config(block, dali.pop("device", "gpu"), batch, 224, 0.2, **dali)


def epochs(cfg: DictConfig, count: int = 2) -> list[float]:
    """Images/s of the first epochs, each from asking for its first batch to having its last."""
    data = build_pretrain(cfg)
    data.trainer = build_trainer(cfg, [])
    loader, rates = data.train_dataloader(), []
    for _ in range(count):
        images, start = 0, time.perf_counter()
        for batch in loader:
            images += len(batch[0])
        if torch.cuda.is_available():
            torch.cuda.synchronize()
        rates.append(images / (time.perf_counter() - start))
    return rates


def data(args: argparse.Namespace) -> Iterator[Figure]:
    """Images/s in the first epoch and in the next: one setting after the other is changed."""
    settings: list[tuple[int, dict[str, Any]]] = [(BATCH, {}), (64, {})]
    settings += [(batch, {"verify": False}) for batch in (BATCH, 64)]
    settings += [(BATCH, {"readers": n}) for n in _READERS]
    settings += [(BATCH, {"verify": False, "readers": n}) for n in _READERS]
    settings += [(BATCH, {"verify": False, "hw_decoder_load": x}) for x in _LOADS]
    with repeated(args.data / "imagenet-sample" / "train", args.images) as folder:
        yield from _rates(folder, *settings.pop(0), f"DALI gpu, batch {BATCH}, as it is")
        rates = plain(folder, BATCH, core_share(1))
        yield Figure(f"DALI alone, batch {BATCH}", max(rates), more={"rates": rates})
        for batch, dali in settings:
            told = ", ".join(f"dali.{key}={value}" for key, value in dali.items()) or "as it is"
            yield from _rates(folder, batch, dali, f"DALI gpu, batch {batch}, {told}")
        for kind in ("parquet", "webdataset"):
            with tempfile.TemporaryDirectory() as place:
                convert(open_path(folder), Path(place), kind, seed=0)
                yield from _rates(Path(place), BATCH, {}, f"DALI gpu, {kind}, batch {BATCH}")
    block = {"dataset": "cifar10", "format": "resident"}
    block["train_path"] = str(args.data / "cifar10")
    rates = epochs(loaders.config(block, "auto", BATCH, 32, 0.08), 5)
    yield Figure("resident, CIFAR-10", statistics.median(rates[1:]), 60_000, more={"rates": rates})


def plain(folder: Path, batch: int, threads: int) -> list[float]:
    """Images/s of DALI alone, as its own examples have it: it reads, crops, resizes, mirrors.

    Nothing is verified, drawn by this package, coloured or blurred. One decoding for two views.
    """
    dali = library()
    fn, types = dali.fn, dali.types
    pipeline = dali.pipeline.Pipeline(batch, threads, 0, seed=0, prefetch_queue_depth=2)
    with pipeline:
        files, _ = fn.readers.file(file_root=str(folder), random_shuffle=True, name="files")
        images = fn.decoders.image(files, device="mixed", output_type=types.RGB)
        views = []
        for _ in range(2):
            view = fn.random_resized_crop(images, size=224, random_area=[0.2, 1.0])
            level = {"mean": [0.485 * 255, 0.456 * 255, 0.406 * 255], "std": [_STD] * 3}
            mirror = fn.random.coin_flip()
            views.append(fn.crop_mirror_normalize(view, mirror=mirror, **level))
        pipeline.set_outputs(*views)
    pipeline.build()
    steps, rates = pipeline.epoch_size("files") // batch, []
    for _ in range(3):
        start = time.perf_counter()
        for _ in range(steps):
            pipeline.run()
        torch.cuda.synchronize()
        rates.append(steps * batch / (time.perf_counter() - start))
    return rates


def _rates(path: Path, batch: int, dali: dict[str, Any], what: str) -> Iterator[Figure]:
    with nothing_known():
        try:
            cfg = photos(path, batch, **dali)
        except ConfigError as error:  # of a version without the key
            yield Figure(what, why=str(error))
            return
        first, later = epochs(cfg)
        least = None if dali else 3000  # what is changed on purpose may be slower
        yield Figure(f"{what}: first epoch", first, least)
        yield Figure(f"{what}: second", later, least)
        if not dali:
            yield Figure(f"{what}: first of a later run", epochs(cfg, 1)[0], least)


def pixels(args: argparse.Namespace) -> Iterator[Figure]:
    """Views that DALI decodes on the GPU against those that it decodes on the CPU."""
    folder = args.data / "imagenet-sample" / "train"
    made, still = [], []
    for device in ("gpu", "cpu"):
        cfg = photos(folder, 16, device=device)
        data = build_pretrain(cfg)
        data.trainer = build_trainer(cfg, [])
        made.append(data.train_dataloader())
        still.append(data.in_order(data.opened, shard=False))
    for name, (gpu, cpu) in {"augmented": made, "validation": still}.items():
        apart = []
        for batches in zip(gpu, cpu, strict=True):
            ours, theirs = (x[1] if name == "augmented" else x[:1] for x in batches)
            both = zip(ours, theirs, strict=True)
            apart += [(a.cpu() - b.cpu()).abs().flatten() * _STD for a, b in both]
        levels = torch.cat(apart)
        sample = levels[:: max(1, len(levels) // 10_000_000)]  # as many as quantile takes
        more = {"mean": float(levels.mean()), "highest": float(levels.max())}
        more |= {"99 %": float(sample.quantile(0.99)), "images": len(data.opened)}
        wrong = "" if more["mean"] < _APART else f"{more['mean']:.2f} levels apart"
        figure = holds(f"pixels, {name}: within {_APART} of 255 levels, mean", wrong)
        figure.more = more
        yield figure


def fed(args: argparse.Namespace) -> Iterator[Figure]:
    """MixMask-MoCo's step on ResNet-50, fed by DALI, against the same on random images."""
    options = argparse.Namespace(batch=BATCH, repeats=5, seconds=8.0)
    sample = args.data / "imagenet-sample" / "train"
    with repeated(sample, args.images) as folder, nothing_known():
        cfg = photos(folder, BATCH)
        rows = loaders.train(options, cfg, build_trainer(cfg, []))
    rates = {name: row["rates"] for name, row in rows.items()}
    ratios = [a / b for a, b in zip(rates["fed"], rates["synthetic"], strict=True)]
    yield Figure("fed / synthetic, first measurement", ratios[0], 0.95, more=rates)
    yield Figure("fed / synthetic, median", statistics.median(ratios), 0.95)

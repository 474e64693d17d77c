# SPDX-License-Identifier: MIT
"""Images/s of every decoder on every storage, beside the bars they have to clear.

    python benchmarks/data.py --data ../shared/data --out benchmarks/results/data-cpu.json

224 pixels: the photographs of ``imagenet-sample`` as files, and converted to Parquet and
WebDataset in a temporary folder; MoCo v2's augmentation, two views. 32 pixels: CIFAR-10 from
Parquet, the CIFAR recipe plus blur, two views. All pipelines run in one process, one after the
other, over and over; a bar is on the median of ratios within the same round. Exit status 1 when a
bar on the CPU is missed. Bars that need a GPU are measured where there is one.
"""

from __future__ import annotations

import argparse
import re
import statistics
import tempfile
import time
from collections import deque
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from conditions import conditions, save, tell_load
from omegaconf import DictConfig, OmegaConf

from mixmask_solo.bench.data_bench import Running
from mixmask_solo.bench.step_need import make_step, random_batch
from mixmask_solo.data.tools import convert, open_path
from mixmask_solo.runs.pretrain import resolve
from mixmask_solo.runs.trainer import build_trainer

MOCO_VIEWS = {
    "color_jitter": {
        "prob": 0.8,
        "brightness": 0.4,
        "contrast": 0.4,
        "saturation": 0.4,
        "hue": 0.1,
    },
    "grayscale": {"prob": 0.2},
    "gaussian_blur": {"prob": 0.5},
    "horizontal_flip": {"prob": 0.5},
    "num_crops": 2,
}
_AHEAD = 3  # steps that the host may be ahead of the GPU
STORAGES = ("image_folder", "parquet", "webdataset")


@dataclass(frozen=True)
class Bar:
    """A ratio, or images/s, that has to be reached.

    Attributes:
        name: what it is about.
        top: the pipeline measured.
        bottom: the one it is divided by; None takes images/s themselves.
        least: the bar.
        gpu: whether it needs a GPU.
    """

    name: str
    top: str
    bottom: str | None
    least: float
    gpu: bool = False


BARS = (
    Bar("DALI cpu / PIL, 224 px", "224 dali cpu image_folder", "224 pil image_folder", 1.2),
    Bar("resident / PIL, CIFAR-10", "32 resident parquet", "32 pil parquet", 3.5),
    Bar("Parquet / folder", "224 dali cpu parquet", "224 dali cpu image_folder", 0.9),
    Bar("WebDataset / folder", "224 dali cpu webdataset", "224 dali cpu image_folder", 0.9),
    Bar("DALI gpu, 224 px, images/s", "224 dali gpu image_folder", None, 3000, gpu=True),
    Bar("resident on the GPU, CIFAR-10, images/s", "32 resident parquet", None, 60_000, gpu=True),
    Bar("MixMask-MoCo fed by DALI / synthetic", "fed", "synthetic", 0.95, gpu=True),
)


def config(
    data: dict[str, Any], device: str, batch: int, edge: int, scale: float, **dali: Any
) -> DictConfig:
    """A resolved configuration of MixMask-MoCo on ResNet-50 over the given images."""
    view = MOCO_VIEWS | {
        "crop_size": edge,
        "rrc": {"enabled": True, "crop_min_scale": scale, "crop_max_scale": 1.0},
    }
    cfg = {
        "name": "bench",
        "method": "mocov2plus",
        "backbone": {"name": "resnet50"},
        "method_kwargs": {
            "proj_hidden_dim": 2048,
            "proj_output_dim": 128,
            "temperature": 0.2,
            "queue_size": 65536,
            "mixmask": {"grid_size": 8, "mask_type": "block"},
        },
        "momentum": {"base_tau": 0.999, "final_tau": 0.999},
        "data": data,
        "dali": {"device": device, **dali},
        "augmentations": [view],
        "optimizer": {
            "name": "sgd",
            "batch_size": batch,
            "lr": 0.03,
            "classifier_lr": 0.1,
            "weight_decay": 1e-4,
        },
        "scheduler": {"name": "none"},
        "max_epochs": 1,
        "precision": "16-mixed" if torch.cuda.is_available() else "32",
    }
    return resolve(OmegaConf.create(cfg))


def pipelines(args: argparse.Namespace, place: Path) -> dict[str, DictConfig]:
    """Every pipeline's configuration, by name."""
    sample, cifar = args.data / "imagenet-sample", args.data / "cifar10"
    paths = {"image_folder": sample}
    wanted = [
        storage for storage in STORAGES[1:] if re.search(args.only, f"224 dali gpu {storage}")
    ]
    for target in wanted:
        paths[target] = place / target
        convert(open_path(sample), place / target, target, seed=0)
    on_gpu = torch.cuda.is_available()
    found: dict[str, DictConfig] = {}
    for storage, path in paths.items():
        for decoder in ("pil", "dali cpu", *(["dali gpu"] if on_gpu else [])):
            name, _, device = decoder.partition(" ")
            form = storage if name == "pil" else name
            data = {"dataset": "imagenet", "train_path": str(path), "format": form}
            data["num_workers"] = args.workers
            cfg = config(data, device or "auto", args.batch, 224, 0.2)
            found[f"224 {decoder} {storage}"] = cfg
    for decoder in ("pil", "resident"):
        form = "parquet" if decoder == "pil" else decoder
        data = {"dataset": "cifar10", "train_path": str(cifar), "format": form}
        data["num_workers"] = args.workers
        found[f"32 {decoder} parquet"] = config(data, "auto", 256, 32, 0.08)
    return {name: cfg for name, cfg in found.items() if re.search(args.only, name)}


def measure(args: argparse.Namespace, configs: dict[str, DictConfig]) -> dict[str, Any]:
    """Images/s of each pipeline in each round."""
    trainer = build_trainer(next(iter(configs.values())), [])
    running = {}
    for name, cfg in configs.items():
        try:
            running[name] = Running(name.split(" ", 1)[1].rpartition(" ")[0], cfg, trainer)
        except Exception as error:  # one that is broken must not hide the others
            print(f"{name}: {type(error).__name__}: {error}")
    loads: list[float | None] = []
    for number in range(args.repeats):
        with tell_load(loads):
            order = list(running.values())
            for one in order if number % 2 == 0 else reversed(order):
                one.measure(args.seconds)
    rows = {name: {"rates": one.rates, "problem": one.problem} for name, one in running.items()}
    if torch.cuda.is_available() and "224 dali gpu image_folder" in configs:
        rows |= train(args, configs["224 dali gpu image_folder"], trainer)
    return {"rows": rows, "other_load_cores": loads}


def train(args: argparse.Namespace, cfg: DictConfig, trainer: Any) -> dict[str, Any]:
    """Images/s of MixMask-MoCo's step on synthetic images, and fed by DALI on the same GPU."""
    from mixmask_solo.data import build_pretrain

    device = trainer.strategy.root_device
    step = make_step(cfg, device)
    synthetic = random_batch(cfg, args.batch, device)
    data = build_pretrain(cfg)
    data.trainer = trainer
    loader = data.train_dataloader()

    def epochs() -> Any:
        while True:
            yield from loader

    fed = epochs()
    for _ in range(5):
        step(synthetic)
        step(next(fed))
    rates: dict[str, list[float]] = {"synthetic": [], "fed": []}
    for _ in range(args.repeats):
        for name, found in rates.items():
            images, start = 0, time.perf_counter()
            ahead: deque[torch.cuda.Event] = deque()
            while time.perf_counter() - start < args.seconds:
                step(next(fed) if name == "fed" else synthetic)
                ahead.append(torch.cuda.Event())
                ahead[-1].record()
                if len(ahead) > _AHEAD:  # the host goes on, as in training, yet not without end
                    ahead.popleft().synchronize()
                images += args.batch
            torch.cuda.synchronize()
            found.append(images / (time.perf_counter() - start))
    return {name: {"rates": found, "problem": ""} for name, found in rates.items()}


def judge(bar: Bar, rows: dict[str, Any]) -> dict[str, Any]:
    """The measured value of a bar, None where it could not be measured."""
    top = rows.get(bar.top, {}).get("rates", [])
    value = None
    if top and (torch.cuda.is_available() or not bar.gpu):
        bottom = rows.get(bar.bottom, {}).get("rates", []) if bar.bottom else [1.0] * len(top)
        if bottom:
            value = statistics.median(a / b for a, b in zip(top, bottom, strict=True))
    missed = value is None or round(value, 2) < bar.least
    return {"bar": bar.name, "value": value, "least": bar.least, "gpu": bar.gpu, "missed": missed}


def main() -> int:
    """Measures, prints, saves."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--data", type=Path, required=True, help="imagenet-sample/ and cifar10/")
    parser.add_argument("--workers", type=int, default=2)
    parser.add_argument("--batch", type=int, default=32, help="at 224 pixels")
    parser.add_argument("--seconds", type=float, default=4.0, help="of each measurement")
    parser.add_argument("--repeats", type=int, default=7)
    parser.add_argument("--only", default="", help="pattern of the pipelines' names")
    parser.add_argument("--out", type=Path)
    args = parser.parse_args()
    torch.set_num_threads(args.workers)
    with tempfile.TemporaryDirectory() as place:
        result = measure(args, pipelines(args, Path(place)))
    print(f"{'pipeline':28} {'images/s':>9} {'lowest':>9} {'highest':>9}")
    for name, row in result["rows"].items():
        rates = row["rates"]
        if rates:
            middle = statistics.median(rates)
            print(f"{name:28} {middle:9,.0f} {min(rates):9,.0f} {max(rates):9,.0f}")
        else:
            print(f"{name:28} {row['problem']}")
    bars = [
        judge(bar, result["rows"]) for bar in BARS if bar.top in result["rows"] or not args.only
    ]
    for bar in bars:
        value = "not measured" if bar["value"] is None else f"{bar['value']:,.2f}"
        unmet = bar["missed"] and (bar["value"] is not None or not bar["gpu"])
        print(f"{bar['bar']:42} {value:>12}  bar {bar['least']:,g}{'  MISSED' if unmet else ''}")
    options = {k: str(v) for k, v in vars(args).items() if k not in ("out", "data")}
    head = {"benchmark": "data", **conditions(), "options": options}
    save(args.out, {**head, **result, "bars": bars})
    return 1 if any(bar["missed"] and not bar["gpu"] for bar in bars) else 0


if __name__ == "__main__":
    raise SystemExit(main())

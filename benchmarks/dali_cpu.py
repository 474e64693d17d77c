# SPDX-License-Identifier: MIT
"""What DALI's CPU operators cost beside torch's and Pillow's, and what looking at files costs.

    python benchmarks/dali_cpu.py --images DIR/imagenet-sample --out dali-cpu.json

One thread, the candidates in turn, medians of milliseconds for one 224-pixel view (resize, blur) or
one file (header, check). ``check`` is Pillow's look at what is no compressed data of a file, which
each image gets once; ``decode`` is Pillow's whole decoding, for comparison.
"""

from __future__ import annotations

import argparse
import io
import statistics
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import torch
import torch.nn.functional as F
from conditions import conditions, save
from nvidia.dali import fn, pipeline, types
from PIL import Image, ImageFilter

from mixmask_solo.data.batched.geometry import blur
from mixmask_solo.data.decoders.dali.jpeg import is_whole, read_jpeg

SIZE, BATCH = 224, 16
Run = Callable[[], object]


def dali(images: list[np.ndarray], operator: Callable[[Any], Any]) -> Run:
    """A DALI pipeline of one operator on images that are decoded already."""
    built = pipeline.Pipeline(
        BATCH, 1, None, prefetch_queue_depth=1, exec_pipelined=False, exec_async=False
    )
    with built:
        fed = fn.external_source(name="images", layout="HWC")
        built.set_outputs(operator(fed))
    built.build()

    def run() -> object:
        built.feed_input("images", images, layout="HWC")
        return built.run()

    return run


def candidates(files: list[bytes]) -> dict[str, dict[str, Run]]:
    """By operation and by who does it; each call handles BATCH images."""
    encoded = [np.frombuffer(file, dtype=np.uint8) for file in files]
    jpegs = [jpeg for e in encoded if (jpeg := read_jpeg(e)) is not None]
    assert len(jpegs) == len(files)
    pictures = [Image.open(io.BytesIO(file)).convert("RGB") for file in files]
    arrays = [np.asarray(picture) for picture in pictures]
    tensors = [torch.from_numpy(a.copy()).permute(2, 0, 1)[None] for a in arrays]
    small = [picture.resize((SIZE, SIZE)) for picture in pictures]
    squares = [np.asarray(picture) for picture in small]
    planes = torch.from_numpy(np.stack(squares)).permute(3, 0, 1, 2).float() / 255
    sigma = torch.ones(BATCH)
    bicubic = {"mode": "bicubic", "antialias": True, "align_corners": False}
    cubic = {"interp_type": types.INTERP_CUBIC, "antialias": True, "dtype": types.UINT8}
    return {
        "resize": {
            "DALI": dali(arrays, lambda x: fn.resize(x, size=(SIZE, SIZE), **cubic)),
            "torch": lambda: [F.interpolate(t, (SIZE, SIZE), **bicubic) for t in tensors],
            "Pillow": lambda: [p.resize((SIZE, SIZE), Image.Resampling.BICUBIC) for p in pictures],
        },
        "blur": {
            "DALI": dali(squares, lambda x: fn.gaussian_blur(x, sigma=1.0)),
            "torch": lambda: blur(planes, sigma),
            "Pillow": lambda: [p.filter(ImageFilter.GaussianBlur(1.0)) for p in small],
        },
        "header": {
            "ours": lambda: [read_jpeg(e) for e in encoded],
            "Pillow": lambda: [Image.open(io.BytesIO(file)).size for file in files],
        },
        "whole": {
            "check": lambda: [is_whole(jpeg) for jpeg in jpegs],
            "decode": lambda: [Image.open(io.BytesIO(file)).convert("RGB") for file in files],
        },
    }


def milliseconds(run: Run) -> float:
    """Of one image."""
    start = time.perf_counter()
    run()
    return 1e3 * (time.perf_counter() - start) / BATCH


def main() -> int:
    """Measures, prints, saves."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--images", type=Path, required=True, help="folder of photographs")
    parser.add_argument("--repeats", type=int, default=11)
    parser.add_argument("--out", type=Path)
    args = parser.parse_args()
    torch.set_num_threads(1)
    paths = sorted(args.images.rglob("*.JPEG"))[:: max(1, len(list(args.images.rglob("*"))) // 40)]
    runs = candidates([path.read_bytes() for path in paths[:BATCH]])
    times: dict[str, dict[str, list[float]]] = {k: {n: [] for n in v} for k, v in runs.items()}
    for _ in range(args.repeats):
        for what, group in runs.items():
            for name, run in group.items():
                times[what][name].append(milliseconds(run))
    medians = {k: {n: statistics.median(t) for n, t in v.items()} for k, v in times.items()}
    for what, group in medians.items():
        print(f"{what:8}", "  ".join(f"{name} {ms:.4g} ms" for name, ms in group.items()))
    options = {"repeats": args.repeats, "batch": BATCH, "size": SIZE}
    save(args.out, {"benchmark": "dali_cpu", **conditions(), "options": options, "ms": medians})
    return 0


if __name__ == "__main__":
    raise SystemExit(main())

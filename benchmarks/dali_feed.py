# SPDX-License-Identifier: MIT
"""What feeding DALI on a GPU costs the host: ``Feeder.read`` alone, no GPU and no DALI.

    python benchmarks/dali_feed.py --data ../shared/data --out benchmarks/results/dali-feed-cpu.json

The photographs of ``imagenet-sample``, repeated, in folders, and converted to Parquet and
WebDataset in a temporary folder; two views of MoCo v2's augmentation are drawn. ``new``: Pillow
looks at every image, as in a first epoch; wall time an image with one and with more reader threads,
their ratio within the same round, CPU time, which other work on the machine disturbs least, and the
cores that the threads got: CPU time by wall time. More threads cannot help where other work leaves
no more than one core. ``remembered``: as in all other epochs and runs; CPU time of the process an
image, one thread; Parquet, as with ImageNet, with room for no more than part of the images, so that
all row groups are read and dropped again. ``rows``: seconds to write and to read what is remembered
of 1,281,167 images. Files lie in the system's cache. Exit status 1 when a bar is missed.
"""

from __future__ import annotations

import argparse
import statistics
import tempfile
import time
from collections import deque
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import numpy as np
import torch
from conditions import conditions, save, tell_load
from data import MOCO_VIEWS, STORAGES

from mixmask_solo.config.datasets import DATASETS
from mixmask_solo.data.augmentations.pipeline import build_all
from mixmask_solo.data.batched.views import View
from mixmask_solo.data.decoders.dali.feeder import EncodedBatch, Feeder
from mixmask_solo.data.decoders.dali.verified import Verified
from mixmask_solo.data.sources import Source, Subset
from mixmask_solo.data.sources.parquet import ParquetSource
from mixmask_solo.data.tolerance import Reader
from mixmask_solo.data.tools import convert, open_path

IMAGENET = 1_281_167
BARS = {  # most milliseconds an image
    "new, {readers} threads, image_folder": 0.6,
    "remembered, image_folder": 0.25,
    "remembered, parquet": 0.15,
    "remembered, webdataset": 0.15,
}


def opened(path: Path, repeat: int) -> Source:
    """The images at a path, each ``repeat`` times as an image of its own."""
    source = open_path(path)["train"]
    return Subset(source, np.tile(np.arange(len(source)), repeat)) if repeat > 1 else source


def feeder(source: Source, verified: Verified) -> Feeder:
    entry = {**MOCO_VIEWS, "crop_size": 224}
    entry["rrc"] = {"enabled": True, "crop_min_scale": 0.2, "crop_max_scale": 1.0}
    views = [
        View(pipeline, n) for n, pipeline in enumerate(build_all([entry], DATASETS["imagenet"]))
    ]
    return Feeder(Reader(source), views, training=True, labelled=False, verified=verified)


def milliseconds(one: Feeder, batch_size: int, readers: int) -> tuple[float, float]:
    """Wall and CPU time an image of an epoch in random order, read by so many threads."""
    generator, blocks = torch.Generator().manual_seed(0), one.reader.source.blocks()
    # not the source's own order, which has each photograph once
    count = len(one.reader)
    order = blocks.order(generator) if blocks else torch.randperm(count, generator=generator)
    batches = [[(0, index) for index in part.tolist()] for part in order.split(batch_size)]
    held: deque[EncodedBatch] = deque(maxlen=readers + 2)  # as many as wait for DALI

    def read(keys: list[tuple[int, int]]) -> int:
        held.append(batch := one.read(keys))
        return len(batch.files)

    start = time.perf_counter(), time.process_time()
    with ThreadPoolExecutor(readers) as pool:
        assert sum(map(len, batches)) == count == sum(pool.map(read, batches))
    took = time.perf_counter() - start[0], time.process_time() - start[1]
    return took[0] / count * 1000, took[1] / count * 1000


def rows(place: Path) -> dict[str, float]:
    """Seconds that a run's end and the next one's start take for them."""
    whole = Subset(open_path(place)["train"], np.zeros(IMAGENET, dtype=np.int64))
    kept, later = (Verified(whole, place / "cache") for _ in range(2))
    kept.rows["stamp"] = np.arange(1, IMAGENET + 1)
    start = time.perf_counter()
    kept.share()
    written = time.perf_counter()
    later.share()
    assert np.array_equal(kept.rows, later.rows)
    return {"write_s": written - start, "read_s": time.perf_counter() - written}


def measure(args: argparse.Namespace, place: Path) -> dict[str, Any]:
    """Milliseconds an image by what is measured, one a round."""
    sample = args.data / "imagenet-sample"
    paths = {STORAGES[0]: sample}
    for storage in STORAGES[1:]:
        paths[storage] = place / storage
        convert({"train": opened(sample, args.repeat)}, paths[storage], storage)
    found: dict[str, list[float]] = {}
    cores: dict[int, list[float]] = {1: [], args.readers: []}
    loads: list[float | None] = []
    for _ in range(args.rounds):
        with tell_load(loads):
            for readers in (1, args.readers):
                source = opened(sample, args.repeat)
                one = feeder(source, Verified(source))
                wall, cpu = milliseconds(one, args.batch, readers)
                cores[readers].append(cpu / wall)
                title = f"new, {readers} {'threads' if readers > 1 else 'thread'}"
                found.setdefault(f"{title}, image_folder", []).append(wall)
                found.setdefault(f"{title}, CPU time, image_folder", []).append(cpu)
            for storage, path in paths.items():
                source = opened(path, args.repeat if path == sample else 1)
                if isinstance(source, ParquetSource):
                    source.cache_bytes = 3 * sum(source.weights) // 5
                    assert source.blocks() is not None
                one = feeder(source, Verified(source))
                milliseconds(one, args.batch, 1)
                _, cpu = milliseconds(one, args.batch, 1)
                found.setdefault(f"remembered, {storage}", []).append(cpu)
    result = {"ms_per_image": found, "cores": cores, "other_load_cores": loads}
    return {**result, "rows": rows(paths["webdataset"])}


def main() -> int:
    """Measures, prints, saves."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--data", type=Path, required=True, help="holds imagenet-sample/")
    parser.add_argument("--readers", type=int, default=4)
    parser.add_argument("--batch", type=int, default=64)
    parser.add_argument("--repeat", type=int, default=4, help="times that each photograph counts")
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--out", type=Path)
    args = parser.parse_args()
    torch.set_num_threads(1)
    with tempfile.TemporaryDirectory() as place:
        result = measure(args, Path(place))
    found = result["ms_per_image"]
    bars = {name.format(readers=args.readers): bar for name, bar in BARS.items()}
    missed = []
    for name, took in found.items():
        middle, bar = statistics.median(took), bars.get(name)
        missed += [name] if bar is not None and middle > bar else []
        note = f"bar {bar:.2f}{'  MISSED' if name in missed else ''}" if bar else ""
        print(f"{name:40} {middle:6.3f} ms ({min(took):.3f} to {max(took):.3f})  {note}")
    one, _, several, _ = list(found.values())[:4]  # wall times
    ratio = statistics.median(a / b for a, b in zip(one, several, strict=True))
    got = {readers: round(statistics.median(x), 2) for readers, x in result["cores"].items()}
    print(f"{args.readers} threads are {ratio:.2f} times as fast as one; cores they got: {got}")
    print(f"rows of ImageNet: {result['rows']}; other load, cores: {result['other_load_cores']}")
    options = {k: str(v) for k, v in vars(args).items() if k not in ("out", "data")}
    head = {"benchmark": "dali_feed", **conditions(), "options": options}
    save(args.out, {**head, **result, "ratio": ratio, "bars": bars, "missed": missed})
    return 1 if missed else 0


if __name__ == "__main__":
    raise SystemExit(main())

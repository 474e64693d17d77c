# SPDX-License-Identifier: MIT
"""Masks and mixing against a straightforward Python loop and the textbook formula.

    python benchmarks/masks.py --out masks.json

Everything runs in one process, the candidates in turn, so that whatever else the machine does hits
all of them; figures are medians, bars are ratios of medians. Leaves with status 1 if a bar is
missed.
"""

from __future__ import annotations

import argparse
import math
import random
import statistics
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor

from mixmask_solo.masks import MaskPool, blocked, upsample
from mixmask_solo.mixtures import mixmask

MASKS, GRID, SIZE, BATCHES, IMAGES = 256, 8, 224, 64, 64
Grid = list[list[int]]


def published_blocked(rng: random.Random, grid: int, ratio: float) -> Grid:
    """One mask by the published algorithm, cell by cell: the reference for tests, too."""
    target, count = math.floor(ratio * grid**2), 0
    mask = [[0] * grid for _ in range(grid)]
    while count < target:
        new = _try_block(rng, mask, target - count)
        if new == 0:
            break
        count += new
    return mask


def _try_block(rng: random.Random, mask: Grid, room: int) -> int:
    """Marks one block and returns how many cells are new, or 0 after ten misses."""
    grid = len(mask)
    for _ in range(10):
        area = rng.uniform(4, room)
        aspect = math.exp(rng.uniform(math.log(0.3), math.log(1 / 0.3)))
        height, width = round(math.sqrt(area * aspect)), round(math.sqrt(area / aspect))
        if height >= grid or width >= grid:
            continue
        top, left = rng.randint(0, grid - height), rng.randint(0, grid - width)
        rows, columns = range(top, top + height), range(left, left + width)
        new = height * width - sum(mask[r][c] for r in rows for c in columns)
        if 0 < new <= room:
            for r in rows:
                for c in columns:
                    mask[r][c] = 1
            return new
    return 0


def loop_upsampled(rng: random.Random) -> Tensor:
    """``(MASKS, SIZE, SIZE)`` float masks, one at a time, as the published function gives them."""
    masks = []
    for _ in range(MASKS):
        cells = torch.tensor(published_blocked(rng, GRID, 0.5), dtype=torch.float32)
        masks.append(F.interpolate(cells[None, None], size=SIZE, mode="nearest")[0, 0])
    return torch.stack(masks)


def textbook(x: Tensor, mask: Tensor, partner: Tensor) -> Tensor:
    """The formula with a float mask ``(N, 1, H, W)``."""
    return mask * x + (1 - mask) * x[partner]


def candidates() -> dict[str, Callable[[], object]]:
    """What is timed, by name; the pool is timed over all the batches of one block."""
    rng, generator = random.Random(0), torch.Generator().manual_seed(0)

    def pooled() -> None:
        pool = MaskPool(
            lambda n, g: blocked(n, GRID, generator=g), MASKS, BATCHES, lambda _e, _b: generator
        )
        for batch in range(BATCHES):
            pool.take(0, batch)

    x = torch.rand(IMAGES, 3, SIZE, SIZE, generator=generator)
    cells = blocked(IMAGES, GRID, generator=generator)
    pixels = upsample(cells, (SIZE, SIZE)).float()
    partner = torch.arange(IMAGES - 1, -1, -1)
    if not torch.equal(mixmask(x, cells, partner).images, textbook(x, pixels, partner)):
        raise SystemExit("mixmask and the textbook formula differ: nothing to compare")
    return {
        "loop, grid only": lambda: [published_blocked(rng, GRID, 0.5) for _ in range(MASKS)],
        "loop, 224 px float": lambda: loop_upsampled(rng),
        "blocked, fresh": lambda: blocked(MASKS, GRID, generator=generator),
        "blocked, pooled": pooled,
        "mix, textbook": lambda: textbook(x, pixels, partner),
        "mix, mixmask": lambda: mixmask(x, cells, partner),
    }


def measure(repeats: int) -> dict[str, float]:
    """Median milliseconds per batch of each candidate, taken in turn."""
    calls, times = candidates(), {}
    for name, call in calls.items():
        call()
        times[name] = [0.0] * repeats
    for i in range(repeats):
        for name, call in calls.items():
            start = time.perf_counter()
            call()
            times[name][i] = (time.perf_counter() - start) * 1e3
    medians = {name: statistics.median(values) for name, values in times.items()}
    medians["blocked, pooled"] /= BATCHES
    return medians


def ratios(ms: dict[str, float]) -> list[dict[str, Any]]:
    """The figures that matter; ``bar`` is None where none is set."""
    loop, cells = ms["loop, 224 px float"], ms["loop, grid only"]
    fresh, pooled = ms["blocked, fresh"], ms["blocked, pooled"]
    mix = ms["mix, mixmask"] / ms["mix, textbook"]
    rows = [
        ("fresh: times faster than the loop", loop / fresh, ">=", 5.0),
        ("pooled: times faster than the loop", loop / pooled, ">=", 30.0),
        ("fresh: times faster than the loop's grids alone", cells / fresh, ">=", None),
        ("pooled: times faster than the loop's grids alone", cells / pooled, ">=", None),
        ("mixing: share of the textbook formula's time", mix, "<=", 1.0),
    ]
    return [
        {
            "what": what,
            "value": value,
            "bar": None if bar is None else f"{sign} {bar:g}",
            "met": bar is None or (value >= bar if sign == ">=" else value <= bar),
        }
        for what, value, sign, bar in rows
    ]


def main() -> int:
    """Measures, prints, saves; 1 where a bar is missed."""
    from conditions import conditions, save  # beside this script; the tests use the rest alone

    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--out", type=Path, help="write the figures to this JSON file")
    parser.add_argument(
        "--threads", type=int, default=1, help="default 1: a second helps only while it is idle"
    )
    parser.add_argument("--repeats", type=int, default=15, help="default 15; medians are taken")
    args = parser.parse_args()
    torch.set_num_threads(args.threads)
    ms = measure(args.repeats)
    rows = ratios(ms)
    for name, value in ms.items():
        print(f"{name:<50}{value:>10.3f} ms per batch")
    for row in rows:
        verdict = (
            "" if row["bar"] is None else f"  {row['bar']}  {'ok' if row['met'] else 'MISSED'}"
        )
        print(f"{row['what']:<50}{row['value']:>10.2f}{verdict}")
    setting = (
        f"{MASKS} masks of grid {GRID}, ratio 0.5, pools of {BATCHES} batches; "
        f"mixing {IMAGES}x3x{SIZE}x{SIZE} float32, one mask per image"
    )
    options = {"repeats": args.repeats, "setting": setting}
    save(args.out, {"benchmark": "masks", **conditions(), **options, "ms": ms, "ratios": rows})
    return 0 if all(row["met"] for row in rows) else 1


if __name__ == "__main__":
    raise SystemExit(main())

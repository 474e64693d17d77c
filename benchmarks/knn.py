# SPDX-License-Identifier: MIT
"""k-NN in pieces against the same votes over whole rows of the distance matrix: memory and time.

    python benchmarks/knn.py --out knn.json

Times are CPU seconds of one process in which both take turns over the same queries, so that
whatever else the machine does hits both. The peak of memory is that of a process of its own, which
makes the features, classifies all of them, and nothing else. Leaves with status 1 if a bar is
missed.
"""

from __future__ import annotations

import argparse
import json
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor

from mixmask_solo.host.knn import knn

BANK, QUERIES, WIDTH, CLASSES = 200_000, 50_000, 512, 100
KS, TEMPERATURES = (20, 200), (0.07, 0.1)
PEAK = 1.5e9  # bytes
Sets = tuple[Tensor, Tensor, Tensor, Tensor]


def features(bank: int, queries: int) -> Sets:
    """Noisy class centres, as ``(bank, labels, queries, labels)``."""
    generator = torch.Generator().manual_seed(0)
    centres = torch.randn(CLASSES, WIDTH, generator=generator)
    made: list[Tensor] = []
    for count in (bank, queries):
        labels = torch.randint(CLASSES, (count,), generator=generator)
        rows = torch.randn(count, WIDTH, generator=generator).mul_(6)
        for part, own in zip(rows.split(4096), labels.split(4096), strict=True):
            part += centres[own]
        made += [rows, labels]
    return made[0], made[1], made[2], made[3]


def in_rows(data: Sets) -> list[float]:
    """Top-1 per setting from whole rows of the distance matrix, as the package had it before."""
    train, labels, test, targets = data
    train, test = F.normalize(train, dim=1), F.normalize(test, dim=1)
    hits = torch.zeros(len(KS) * len(TEMPERATURES), dtype=torch.int64)
    chunk = max(1, (1 << 24) // len(train))
    for part, wanted in zip(test.split(chunk), targets.split(chunk), strict=True):
        near, index = (part @ train.T).topk(max(KS), dim=1)
        neighbours = labels[index]
        settings = [(k, t) for k in KS for t in TEMPERATURES]
        for at, (k, t) in enumerate(settings):
            votes = ((near[:, :k] - near[:, :1]) / t).exp()
            scores = votes.new_zeros(len(part), CLASSES)
            scores.scatter_add_(1, neighbours[:, :k], votes)
            best = scores.topk(5, dim=1).indices
            hits[at] += (best[:, 0] == wanted).sum()
    return (100.0 * hits.double() / len(test)).tolist()


def in_pieces(data: Sets) -> list[float]:
    """Top-1 per setting by the package."""
    return [found.top1 for found in knn(*data, k=KS, temperature=TEMPERATURES).values()]


def peak(bank: int, queries: int, threads: int) -> dict[str, Any]:
    """Peak bytes of a process that classifies all queries, and its seconds."""
    command = [sys.executable, __file__, "--child", "--threads", str(threads)]
    sizes = ["--bank", str(bank), "--queries", str(queries)]
    done = subprocess.run([*command, *sizes], capture_output=True, text=True, check=True)
    found: dict[str, Any] = json.loads(done.stdout)
    return found


def child(bank: int, queries: int) -> dict[str, Any]:
    """What :func:`peak` runs."""
    before = _status("VmHWM")
    data = features(bank, queries)
    start = time.perf_counter()
    top1 = in_pieces(data)
    seconds = time.perf_counter() - start
    return {"imports": before, "peak": _status("VmHWM"), "seconds": seconds, "top1": top1}


def _status(name: str) -> int:
    lines = Path("/proc/self/status").read_text().splitlines()
    return 1024 * int(next(line for line in lines if line.startswith(name)).split()[1])


def times(bank: int, queries: int, rounds: int) -> dict[str, float]:
    """CPU seconds of each way over ``rounds`` slices of all queries, taken in turn."""
    train, labels, test, targets = features(bank, queries)
    ways: dict[str, Callable[[Sets], list[float]]] = {"rows": in_rows, "pieces": in_pieces}
    spent = dict.fromkeys(ways, 0.0)
    step = queries // rounds
    for first in range(0, step * rounds, step):
        part = slice(first, first + step)
        found = {}
        for name, way in ways.items():
            start = time.process_time()
            found[name] = way((train, labels, test[part], targets[part]))
            spent[name] += time.process_time() - start
        if found["rows"] != found["pieces"]:
            raise SystemExit(f"the two ways differ: {found}")
    return spent


def main() -> int:
    """Measures, prints, saves; 1 where a bar is missed."""
    from conditions import conditions, save  # beside this script; the tests use the rest alone

    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--out", type=Path, help="write the figures to this JSON file")
    parser.add_argument("--threads", type=int, default=1, help="default 1")
    parser.add_argument("--bank", type=int, default=BANK, help=f"default {BANK}")
    parser.add_argument("--queries", type=int, default=QUERIES, help=f"default {QUERIES}")
    parser.add_argument("--rounds", type=int, default=5, help="slices of the queries; default 5")
    parser.add_argument("--child", action="store_true", help=argparse.SUPPRESS)
    args = parser.parse_args()
    torch.set_num_threads(args.threads)
    if args.child:
        print(json.dumps(child(args.bank, args.queries)))
        return 0
    memory = peak(args.bank, args.queries, args.threads)
    cpu = times(args.bank, args.queries, args.rounds)
    share = cpu["pieces"] / cpu["rows"]
    rows = [
        {"what": "peak, GB", "value": memory["peak"] / 1e9, "bar": "<= 1.5"},
        {"what": "CPU time, share of that by rows", "value": share, "bar": "<= 1"},
    ]
    for row, bar in zip(rows, (1.5, 1.0), strict=True):
        row["met"] = row["value"] <= bar
        verdict = "ok" if row["met"] else "MISSED"
        print(f"{row['what']:<40}{row['value']:>8.3f}  {row['bar']}  {verdict}")
    setting = (
        f"{args.queries} queries, bank of {args.bank} x {WIDTH} float32, k {KS}, T {TEMPERATURES}"
    )
    told = {"setting": setting, "rounds": args.rounds, "memory": memory, "cpu_seconds": cpu}
    save(args.out, {"benchmark": "knn", **conditions(), **told, "ratios": rows})
    return 0 if all(row["met"] for row in rows) else 1


if __name__ == "__main__":
    raise SystemExit(main())

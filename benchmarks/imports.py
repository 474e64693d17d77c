# SPDX-License-Identifier: MIT
"""What importing costs: the package beyond its heavy dependencies, and the commands' --help.

    python benchmarks/imports.py --out benchmarks/results/imports.json

Each figure is the median wall time of fresh processes, run alternately. Exit status 1 when
``import mixmask_solo`` takes 0.2 s or more beyond torch, torchvision and lightning, or a command
needs 3 s or more to answer --help. The last figure is a command from its start to its end that
loads what training and measuring need, and does nothing: its checkpoint is not there.
"""

from __future__ import annotations

import argparse
import statistics
import subprocess
import sys
import time
from pathlib import Path

from conditions import conditions, save

HEAVY = "import torch, torchvision, lightning.pytorch"
RUNS = {
    "python": ["-c", "pass"],
    "heavy": ["-c", HEAVY],
    "heavy + mixmask_solo": ["-c", f"{HEAVY}; import mixmask_solo"],
    "heavy + masks, mixtures, objectives": [
        "-c",
        f"{HEAVY}; import mixmask_solo.masks, mixmask_solo.mixtures, mixmask_solo.objectives",
    ],
    **{
        f"mixmask-{name} --help": ["-m", f"mixmask_solo.cli.{name}", "--help"]
        for name in ("pretrain", "knn", "linear", "gallery")
    },
}
NOTHING = "mixmask-knn of no file"
RUNS[NOTHING] = ["-m", "mixmask_solo.cli.knn", "--pretrained_checkpoint", "no-such-file.ckpt"]


def main() -> int:
    """Measures, prints, saves."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--repeats", type=int, default=7)
    parser.add_argument("--out", type=Path)
    args = parser.parse_args()
    seconds: dict[str, list[float]] = {name: [] for name in RUNS}
    for _ in range(args.repeats):
        for name, arguments in RUNS.items():
            start = time.perf_counter()
            done = subprocess.run([sys.executable, *arguments], capture_output=True)
            seconds[name].append(time.perf_counter() - start)
            if done.returncode != (2 if name == NOTHING else 0):
                raise SystemExit(f"{name}: {done.stderr.decode()}")
    median = {name: statistics.median(values) for name, values in seconds.items()}
    beyond = statistics.median(
        b - a for a, b in zip(seconds["heavy"], seconds["heavy + mixmask_solo"], strict=True)
    )
    for name, value in median.items():
        print(f"{name:40} {value:7.3f} s")
    print(f"{'mixmask_solo beyond the heavy ones':40} {beyond:7.3f} s (bar 0.2)")
    save(
        args.out,
        {
            "benchmark": "imports",
            **conditions(),
            "median_seconds": median,
            "beyond_seconds": beyond,
            "all_seconds": seconds,
        },
    )
    slow = [n for n, v in median.items() if n.endswith("--help") and v >= 3]
    return 1 if beyond >= 0.2 or slow else 0


if __name__ == "__main__":
    raise SystemExit(main())

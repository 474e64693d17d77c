# SPDX-License-Identifier: MIT
"""Copies what is small of completed runs: records and measurements, no weights.

    python benchmarks/rehearsal/keep.py RUNS benchmarks/rehearsal/runs

A rehearsal takes hours and may be cut anywhere. What it has finished is kept here, so that
``mixmask-tables show`` and ``mixmask-report`` read it, and ``mixmask-tables run`` on a copy of the
folder does the rest alone.
"""

from __future__ import annotations

import argparse
import json
import shutil
from pathlib import Path

_SMALL = ("args.json", "result.json", "metrics.csv", "knn*.json")


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("runs", type=Path)
    parser.add_argument("kept", type=Path)
    args = parser.parse_args()
    for file in sorted(args.runs.rglob("result.json")):
        if json.loads(file.read_text("utf-8")).get("status") != "completed":
            continue
        target = args.kept / file.parent.relative_to(args.runs)
        target.mkdir(parents=True, exist_ok=True)
        for pattern in _SMALL:
            for one in file.parent.glob(pattern):
                shutil.copy2(one, target / one.name)
        print(target)


if __name__ == "__main__":
    main()

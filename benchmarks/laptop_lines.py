# SPDX-License-Identifier: MIT
"""Does each recipe's laptop line end in under ten minutes?

    python benchmarks/laptop_lines.py --data DIR --out benchmarks/results/laptop-lines.json

Runs ``# Laptop:`` of the recipes' heads as written, one after the other, each a whole process (a
probe's or a fine-tuning's on a checkpoint that a pretraining laptop line has left, which is not
timed), on samples of the data sets: ``DIR/cifar10`` and ``DIR/tiny-imagenet-200`` (Parquet files
named train-*, and test-* or val-*), ``DIR/imagenet-sample`` (folders train and val, for ImageNet,
ImageNet-100 and STL-10; whole, since a share of the sample would be less than a batch). What the
JSON holds already is not run again. Saliency's localiser has to be at hand; random weights in a
ResNet-50's file in ``TORCH_HOME`` take as long. Exit status 1 where one fails or takes longer.
"""

from __future__ import annotations

import argparse
import json
import subprocess
import sys
import tempfile
import time
from pathlib import Path
from typing import Any

from conditions import conditions, save

ROOT = Path(__file__).parents[1]
sys.path.insert(0, str(ROOT / "tests"))

from mixmask_solo.tables.head import head_of  # noqa: E402

LIMIT = 600.0  # seconds


def where(group: str, data: Path) -> list[str]:
    """Overrides that take the images of the sample in the place of a recipe's own."""
    if group in ("cifar", "tiny-imagenet"):
        folder = data / ("cifar10" if group == "cifar" else "tiny-imagenet-200")
        train = next(iter(sorted(folder.glob("train-*"))))
        [val] = [*folder.glob("test-*"), *folder.glob("val-*")]
        named = ["data.dataset=parquet", "data.format=parquet"]
        return [f"++{x}" for x in (*named, f"data.train_path={train}", f"data.val_path={val}")]
    sample = data / "imagenet-sample"
    named = [f"data.train_path={sample / 'train'}", f"data.val_path={sample / 'val'}"]
    dataset = "imagenet" if group == "imagenet" else "custom"
    more = [f"data.dataset={dataset}", "data.fraction=-1", "data.format=image_folder"]
    return [f"++{x}" for x in (*named, *more)]


def command_of(file: Path, data: Path, folder: str) -> list[str]:
    """The laptop line, as a process."""
    line = [word for word in head_of(file)["Laptop"].split() if "=" in word]
    module = file.parents[1].name
    command = [sys.executable, "-m", f"mixmask_solo.cli.{module}", "--config-path"]
    command += [str(file.parent), "--config-name", file.stem, *line]
    return [*command, *where(file.parent.name, data), f"checkpoint.dir={folder}"]


def pretrained(file: Path, data: Path, folder: str) -> list[str]:
    """The override that gives a probe or fine-tuning a checkpoint of its backbone."""
    group = file.parent.name
    recipe = f"{'byol' if 'tiny' in group or file.stem == 'sololearn' else 'mocov2'}.yaml"
    own = ROOT / "scripts" / "pretrain" / ("imagenet" if group == "transfer" else group) / recipe
    subprocess.run(command_of(own, data, folder), capture_output=True, check=True)
    [checkpoint] = Path(folder).rglob("last.ckpt")
    return [f"pretrained_feature_extractor={checkpoint}"]


def run(file: Path, data: Path) -> dict[str, Any]:
    """Seconds of the whole process, and its last line where it failed."""
    with tempfile.TemporaryDirectory() as folder:
        command = command_of(file, data, folder)
        if file.parents[1].name != "pretrain":
            command += pretrained(file, data, folder)
        start = time.perf_counter()
        try:
            done = subprocess.run(command, capture_output=True, text=True, timeout=2 * LIMIT)
            code, error = done.returncode, done.stderr
        except subprocess.TimeoutExpired:
            code, error = -1, f"no end after {2 * LIMIT:.0f} s"
        seconds = time.perf_counter() - start
    lines = error.strip().splitlines() or [""]
    row = {"file": str(file.relative_to(ROOT)), "seconds": round(seconds, 1), "status": code}
    return row | ({"error": lines[-1]} if code else {})


def main() -> int:
    """Runs what is missing, prints, saves after each."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--data", type=Path, required=True)
    parser.add_argument("--groups", nargs="+", help="folders with recipes; default all")
    parser.add_argument("--names", nargs="+", help="files in them; default all")
    parser.add_argument("--out", type=Path)
    args = parser.parse_args()
    known = json.loads(args.out.read_text())["rows"] if args.out and args.out.is_file() else []
    rows = {row["file"]: row for row in known if not row["status"]}
    folders = [ROOT / "scripts" / kind for kind in ("pretrain", "linear", "finetune")]
    for file in sorted(file for folder in folders for file in folder.glob("*/*.yaml")):
        asked = not args.groups or file.parent.name in args.groups
        named = not args.names or file.stem in args.names
        here = "the same with" in head_of(file).get("Laptop", "")
        if asked and named and here and str(file.relative_to(ROOT)) not in rows:
            row = run(file, args.data.absolute())
            rows[row["file"]] = row
            print(f"{row['file']:60} {row['seconds']:7.1f} s  {row.get('error', '')}", flush=True)
            kept = [rows[name] for name in sorted(rows)]
            save(args.out, {"benchmark": "laptop_lines", **conditions(), "rows": kept})
    return int(any(row["status"] or row["seconds"] > LIMIT for row in rows.values()))


if __name__ == "__main__":
    raise SystemExit(main())

# SPDX-License-Identifier: MIT
"""Damages real JPEGs at random and feeds them to every decoder: no crash, no hang, counts right.

    python benchmarks/fuzz_images.py --images ../shared/data/imagenet-sample --count 10000

Each string is a real file with bits flipped, cut off, or spliced with another one. What Pillow
makes of it, asked in this process, is the truth. Every decoder then reads them all in an epoch of
training and in one of validation with ``data.on_error: skip``; the damaged images it counted are
compared with the truth, and so are indexes and labels. With ``raise`` it has to name the first bad
file. Exit status 1 where anything differs, 124 where an epoch does not end.
"""

from __future__ import annotations

import argparse
import faulthandler
import io
import tempfile
import time
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
import torch
from conditions import conditions, save
from PIL import Image

from mixmask_solo.config import ConfigError
from mixmask_solo.data import ImageError, build_pretrain, source

DECODERS = ("pil", "dali cpu", "dali gpu", "resident")  # resident last: its strings are fewer
CLASSES = 10


def damaged(originals: Sequence[bytes], count: int, rng: np.random.Generator) -> list[bytes]:
    """``count`` byte strings, every tenth of them whole."""
    out = []
    for number in range(count):
        raw = bytearray(originals[rng.integers(len(originals))])
        kind = number % 10
        if kind in (1, 2, 3):  # flips, few or many, anywhere or in the header
            reach = len(raw) if kind < 3 else min(700, len(raw))
            for place in rng.integers(0, reach, 1 + int(rng.integers(64)) ** kind % 97):
                raw[place] ^= 1 << int(rng.integers(8))
        elif kind in (4, 5):
            del raw[int(rng.integers(len(raw))) :]
        elif kind in (6, 7):  # the head of one and the tail of another
            other = originals[rng.integers(len(originals))]
            raw[int(rng.integers(len(raw))) :] = other[int(rng.integers(len(other))) :]
        elif kind == 8:  # a hole, or a repeated stretch
            start, stop = sorted(rng.integers(0, len(raw), 2).tolist())
            raw[start:stop] = raw[start:stop] * int(rng.integers(3))
        elif kind == 9:
            raw[: int(rng.integers(len(raw)))] = rng.bytes(int(rng.integers(200)))
        out.append(bytes(raw))
    return out


def originals(folder: Path | None, edge: int, rng: np.random.Generator) -> list[bytes]:
    """Small JPEGs: shrunk photographs, or drawn ones where no folder is given."""
    found = []
    for path in sorted(folder.rglob("*.JPEG"))[:40] if folder else []:
        with Image.open(path) as image:
            found.append(encode(image.convert("RGB").resize((edge, edge)), len(found)))
    while len(found) < 20:
        coarse = rng.integers(0, 256, (6, 6, 3), dtype=np.uint8)
        found.append(encode(Image.fromarray(coarse).resize((edge, edge)), len(found)))
    return found


def encode(image: Image.Image, number: int) -> bytes:
    """A JPEG of one of the usual kinds."""
    buffer = io.BytesIO()
    image = image.convert("L") if number % 7 == 3 else image
    image.save(buffer, "JPEG", quality=60 + number % 35, progressive=number % 3 == 1)
    return buffer.getvalue()


def config(folder: Path, decoder: str, mode: str, count: int, workers: int) -> dict[str, Any]:
    """A small pretraining configuration."""
    name, _, device = decoder.partition(" ")
    data = {
        "dataset": "custom",
        "train_path": str(folder),
        "val_path": str(folder),
        "format": "image_folder" if name == "pil" else name,
        "num_workers": workers,
        "on_error": mode,
        "max_errors": count,
    }
    view = {"crop_size": 32, "num_crops": 2, "rrc": {"enabled": True, "crop_min_scale": 0.2}}
    return {
        "seed": 1,
        "data": data,
        "dali": {"device": device or "auto"},
        "optimizer": {"batch_size": 32},
        "augmentations": [view],
    }


def check(folder: Path, decoder: str, bad: set[str], count: int, workers: int) -> dict[str, Any]:
    """What one decoder made of all of them; ``wrong`` lists what it should not have."""
    start, wrong = time.perf_counter(), []
    data = build_pretrain(config(folder, decoder, "skip", count, workers))
    loader = data.train_dataloader()
    labels = torch.from_numpy(data.opened.labels)
    names = [Path(data.opened.name(i)).name for i in range(count)]
    for indexes, views, targets in loader:
        seen = torch.as_tensor(indexes).cpu().long()
        if len(seen) != 32 or not torch.equal(labels[seen], torch.as_tensor(targets).cpu()):
            wrong.append("a batch that is not full, or of wrong labels")
        if any(names[i] in bad for i in seen.tolist()):
            wrong.append("a damaged image passed for a whole one")
        if not all(bool(view.isfinite().all()) for view in views):
            wrong.append("pixels that are not finite")
    whole = sum(len(y) for _, y in data.val_dataloader())
    found = {Path(one.name).name for one in data.tolerance.damaged()}
    if whole != count - len(bad):
        wrong.append(f"{whole} validation images instead of {count - len(bad)}")
    if found != bad:
        wrong.append(f"{len(found - bad)} counted that are whole, {len(bad - found)} not counted")
    first = next(name for name in names if name in bad)
    strict = build_pretrain(config(folder, decoder, "raise", count, workers))
    try:
        for _ in strict.val_dataloader():
            pass
        wrong.append("raise raised nothing")
    except ImageError as error:
        if first not in str(error):
            wrong.append(f"raise did not name {first}: {str(error).splitlines()[-1]}")
    seconds = round(time.perf_counter() - start, 1)
    return {"decoder": decoder, "damaged": len(found), "seconds": seconds, "wrong": wrong}


def write(folder: Path, strings: Sequence[bytes]) -> set[str]:
    """Stores the strings as an image folder; names of those that Pillow cannot read."""
    for number in range(CLASSES):
        (folder / f"class_{number}").mkdir(parents=True)
    for number, raw in enumerate(strings):
        (folder / f"class_{number % CLASSES}" / f"{number:06d}.jpg").write_bytes(raw)
    images = source({"data": {"dataset": "custom", "train_path": str(folder)}}, "train")
    assert images is not None
    bad = set()
    for i in range(len(images)):
        try:
            images.image(i)
        except ImageError:
            bad.add(Path(images.name(i)).name)
    return bad


def size(raw: bytes) -> tuple[int, int] | None:
    """Width and height; None where Pillow cannot read the image."""
    try:
        return Image.open(io.BytesIO(raw)).convert("RGB").size
    except Exception:  # as in Source.image
        return None


def main() -> int:
    """Makes the strings, runs the decoders."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--images", type=Path, help="folder of real JPEGs; else drawn ones")
    parser.add_argument("--count", type=int, default=10_000)
    parser.add_argument("--edge", type=int, default=64, help="of the images, in pixels")
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--workers", type=int, default=2)
    parser.add_argument("--decoders", nargs="+", default=DECODERS, choices=DECODERS)
    parser.add_argument("--limit", type=float, default=1800, help="seconds a decoder may take")
    parser.add_argument("--out", type=Path)
    args = parser.parse_args()
    rng = np.random.default_rng(args.seed)
    rows = []
    with tempfile.TemporaryDirectory() as place:
        folder = Path(place) / "fuzzed"
        strings = damaged(originals(args.images, args.edge, rng), args.count, rng)
        bad = write(folder, strings)
        print(f"{args.count} strings, {len(bad)} of which Pillow cannot read")
        for decoder in args.decoders:
            if decoder == "resident":  # which needs one size; flips in a header make others
                strings = [raw for raw in strings if size(raw) in (None, (args.edge, args.edge))]
                folder = Path(place) / "one_size"
                bad = write(folder, strings)
            faulthandler.dump_traceback_later(args.limit, exit=True)
            try:
                row = check(folder, decoder, bad, len(strings), args.workers)
            except (ConfigError, ImportError) as error:
                row = {"decoder": decoder, "problem": str(error), "wrong": []}
            faulthandler.cancel_dump_traceback_later()
            rows.append(row)
            verdict = row.get("problem") or "; ".join(dict.fromkeys(row["wrong"])) or "as it should"
            print(f"{decoder:9} {verdict}", flush=True)
    content = {"benchmark": "fuzz_images", **conditions(), "damaged": len(bad), "rows": rows}
    save(args.out, content | {"options": {k: str(v) for k, v in vars(args).items()}})
    return 1 if any(row["wrong"] for row in rows) else 0


if __name__ == "__main__":
    raise SystemExit(main())

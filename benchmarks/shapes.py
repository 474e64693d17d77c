# SPDX-License-Identifier: MIT
"""Circles, squares and triangles over photographs, with their masks in COCO's JSON."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import numpy as np
from PIL import Image, ImageDraw
from sklearn.datasets import load_sample_images

__all__ = ["CLASSES", "draw_shapes"]

CLASSES = ("circle", "square", "triangle")
_CORNERS = 24  # of the polygon that a circle is
_UPRIGHT = (0.0, np.pi / 4, -np.pi / 2)  # where a shape's first corner is
_TURNED = np.pi / 12  # at most, either way


def draw_shapes(folder: Path, count: int, seed: int, size: int = 128) -> Path:
    """Draws ``count`` images of ``size`` pixels a side into a folder; returns the JSON file.

    One or two shapes an image, of a third to a half of its side, nearly upright, filled with one
    colour; they may hide one another, and what is hidden belongs to the mask of whoever hides it
    alone.
    """
    random = np.random.default_rng(seed)
    photographs = [Image.fromarray(image) for image in load_sample_images().images]
    folder.mkdir(parents=True, exist_ok=True)
    images: list[dict[str, Any]] = []
    annotations: list[dict[str, Any]] = []
    for number in range(1, count + 1):
        photograph = photographs[random.integers(len(photographs))]
        left, top = (int(random.integers(edge - size)) for edge in photograph.size)
        image = photograph.crop((left, top, left + size, top + size))
        owner = Image.new("L", image.size, 0)
        kinds = [int(random.integers(len(CLASSES))) for _ in range(random.integers(1, 3))]
        for place, kind in enumerate(kinds, start=1):
            corners = _corners(random, kind, size)
            color = tuple(int(c) for c in random.integers(0, 256, 3))
            ImageDraw.Draw(image).polygon(corners, fill=color)
            ImageDraw.Draw(owner).polygon(corners, fill=place)
        image.save(folder / f"{number}.png")
        images.append({"id": number, "file_name": f"{number}.png", "width": size, "height": size})
        for place, kind in enumerate(kinds, start=1):
            mask = np.asarray(owner) == place
            if mask.sum() >= 20:  # of one that is nearly hidden nothing can be told
                annotations.append(_annotation(len(annotations) + 1, number, kind, mask))
    categories = [{"id": i, "name": name} for i, name in enumerate(CLASSES, start=1)]
    file = folder / "annotations.json"
    content = {"images": images, "annotations": annotations, "categories": categories}
    file.write_text(json.dumps(content))
    return file


def _corners(random: np.random.Generator, kind: int, size: int) -> list[tuple[float, float]]:
    radius = size * random.uniform(0.15, 0.28)
    x, y = random.uniform(radius, size - radius, 2)
    number = (_CORNERS, 4, 3)[kind]
    start = _UPRIGHT[kind] + random.uniform(-_TURNED, _TURNED)
    angles = start + 2 * np.pi * np.arange(number) / number
    return [(float(x + radius * np.cos(a)), float(y + radius * np.sin(a))) for a in angles]


def _annotation(number: int, image: int, kind: int, mask: np.ndarray[Any, Any]) -> dict[str, Any]:
    """With run lengths, column by column, as COCO's uncompressed masks are."""
    rows, columns = np.flatnonzero(mask.any(1)), np.flatnonzero(mask.any(0))
    box = [columns[0], rows[0], columns[-1] - columns[0] + 1, rows[-1] - rows[0] + 1]
    flat = mask.flatten(order="F")
    changes = np.flatnonzero(np.diff(flat)) + 1
    counts = np.diff([0, *changes, flat.size]).tolist()
    return {
        "id": number,
        "image_id": image,
        "category_id": kind + 1,
        "bbox": [int(x) for x in box],
        "area": int(mask.sum()),
        "iscrowd": 0,
        "segmentation": {"size": list(mask.shape), "counts": ([0] if flat[0] else []) + counts},
    }

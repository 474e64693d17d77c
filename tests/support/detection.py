# SPDX-License-Identifier: MIT
"""Tiny detection data sets on disk, and the configuration of runs of seconds on them."""

from __future__ import annotations

import json
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
from omegaconf import DictConfig, OmegaConf
from PIL import Image

__all__ = ["coco_file", "detection_config", "small_voc", "voc_tree"]

Object = tuple[str, tuple[int, int, int, int], int]  # name, corners as in VOC's files, difficult


def _photograph(file: Path, size: tuple[int, int], seed: int) -> None:
    pixels = np.random.default_rng(seed).integers(0, 256, (size[1], size[0], 3), dtype=np.uint8)
    file.parent.mkdir(parents=True, exist_ok=True)
    Image.fromarray(pixels).save(file)


def voc_tree(
    root: Path,
    images: dict[str, Sequence[Object]],
    sets: dict[str, Sequence[str]],
    size: tuple[int, int] = (96, 64),
) -> Path:
    """Pascal VOC's layout in ``root``: the objects of each image, the images of each set."""
    for folder in ("JPEGImages", "Annotations", "ImageSets/Main"):
        (root / folder).mkdir(parents=True, exist_ok=True)
    for number, (name, objects) in enumerate(images.items()):
        _photograph(root / "JPEGImages" / f"{name}.jpg", size, number)
        told = "".join(
            f"<object><name>{kind}</name><difficult>{hard}</difficult><bndbox><xmin>{x1}</xmin>"
            f"<ymin>{y1}</ymin><xmax>{x2}</xmax><ymax>{y2}</ymax></bndbox></object>"
            for kind, (x1, y1, x2, y2), hard in objects
        )
        (root / "Annotations" / f"{name}.xml").write_text(
            f"<annotation><size><width>{size[0]}</width><height>{size[1]}</height></size>{told}"
            "</annotation>"
        )
    for name, listed in sets.items():
        (root / "ImageSets" / "Main" / f"{name}.txt").write_text("\n".join(listed) + "\n")
    return root


def small_voc(root: Path, count: int = 6) -> Path:
    """As many images of one or two objects of two classes, half of them for training."""
    names = [f"{i:06d}" for i in range(count)]
    objects: list[Object] = [("cat", (11, 11, 50, 40), 0), ("dog", (41, 21, 90, 60), 0)]
    images = {name: objects[: 1 + i % 2] for i, name in enumerate(names)}
    half = count // 2
    return voc_tree(root, images, {"train": names[:half], "val": names[half:]})


def coco_file(folder: Path, count: int = 4, size: tuple[int, int] = (96, 64)) -> Path:
    """COCO's JSON of images with a polygon, run lengths and a crowd each."""
    images, annotations = [], []
    for number in range(1, count + 1):
        _photograph(folder / f"{number}.jpg", size, number)
        images.append(
            {"id": number, "file_name": f"{number}.jpg", "width": size[0], "height": size[1]}
        )
        polygon = [[10, 10, 50, 10, 50, 40, 10, 40]]
        # rows 20 to 39 of columns 60 to 69
        counts = [60 * 64 + 20, *[20, 44] * 9, 20, (96 - 69) * 64 - 40]
        shapes: list[tuple[Any, list[int], int]] = [
            (polygon, [10, 10, 40, 30], 0),
            ({"size": [64, 96], "counts": counts}, [60, 20, 10, 20], 0),
            ({"size": [64, 96], "counts": [0, 64, 95 * 64]}, [0, 0, 1, 64], 1),
        ]
        for place, (segmentation, box, crowd) in enumerate(shapes):
            annotations.append(
                {
                    "id": 3 * number + place,
                    "image_id": number,
                    "category_id": (7, 3, 3)[place],
                    "bbox": box,
                    "area": box[2] * box[3],
                    "iscrowd": crowd,
                    "segmentation": segmentation,
                }
            )
    categories = [{"id": 7, "name": "box"}, {"id": 3, "name": "bar"}]
    content = {"images": images, "annotations": annotations, "categories": categories}
    file = folder / "annotations.json"
    file.write_text(json.dumps(content))
    return file


def detection_config(folder: Path, data: dict[str, Any], **more: Any) -> DictConfig:
    """A run of a few steps of a tiny network on 64 pixels."""
    cfg = {
        "pretrained_feature_extractor": None,
        "backbone": {"name": "resnet10t"},
        "data": {
            "short_side": [48, 64],
            "short_side_test": 64,
            "max_size": 96,
            "num_workers": 0,
            **data,
        },
        "detector": {
            "anchor_sizes": [16, 32],
            "pre_nms_train": 100,
            "pre_nms_test": 50,
            "post_nms_train": 20,
            "post_nms_test": 8,
            "pool": 4,
            "rois_per_image": 8,
            "anchors_per_image": 16,
            "detections_per_image": 5,
        },
        "optimizer": {"batch_size": 2, "lr": 0.01, "kwargs": {"momentum": 0.9}},
        "scheduler": {"warmup_steps": 2, "milestones": [3], "gamma": 0.1},
        "max_steps": 4,
        "eval_every": 2,
        "precise_bn": 2,
        "pictures": 2,
        "accelerator": "cpu",
        "checkpoint": {"enabled": True, "dir": str(folder)},
    }
    return OmegaConf.merge(OmegaConf.create(cfg), OmegaConf.create(more))  # type: ignore[return-value]

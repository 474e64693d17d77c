# SPDX-License-Identifier: MIT
"""Whether a run's images are the data set that its configuration names, by how many they are."""

from collections.abc import Mapping
from typing import Any

from mixmask_solo.config.datasets import DATASETS
from mixmask_solo.config.schema.data import LABELS
from mixmask_solo.records.registry.record import RunRecord

_Numbers = tuple[float | None, float | None]  # of training and validation images

# Of a detector: images with an object to train on, and images of the split that measures.
_VOC = {1: (5_011, 4_952), 2: (16_551, 4_952)}  # by folders: 2007, 2007 and 2012
_COCO = (117_266, 5_000)  # of 118,287, those with an object that is no crowd


def other_images(run: RunRecord) -> str:
    """Why its images cannot be the whole data set that the configuration names, or its share."""
    data = run.config.get("data") or {}
    splits = run.result.get("data") or {}
    train, val, held = (splits.get(name) or {} for name in ("train", "val", "holdout"))
    dataset, there = str(data.get("dataset")), (train.get("images"), val.get("images"))
    if "detector" in run.config:
        return _other(dataset, there, _detected(data))
    fraction = float(data.get("fraction") or -1)
    share = 1 if fraction == -1 else fraction
    images = there[0]
    if images is not None:
        images += int(held.get("images") or 0)  # chosen among: a part of the training images
    tuned = run.kind == "finetune" and "labels" in data  # mixmask-finetune's
    if tuned and data["labels"] not in LABELS:
        images = None  # as many as a file names
    share *= LABELS.get(str(data.get("labels")), 1) if tuned else 1
    # its share is rounded class by class
    slack = int(train.get("classes") or 0) if tuned and fraction not in (-1, 1) else 0
    return _other(dataset, (images, there[1]), _labelled(dataset, share), slack)


def same_images(run: RunRecord, content: dict[str, Any]) -> bool:
    """Whether a k-NN used all training images, whatever pretraining saw, and the run's own
    validation images."""
    dataset = str((run.config.get("data") or {}).get("dataset"))
    train, test = content.get("train_images"), content.get("test_images")
    val = ((run.result.get("data") or {}).get("val") or {}).get("images")
    same = content.get("dataset") == dataset and (None in (test, val) or test == val)
    return same and not _other(dataset, (train, test), _labelled(dataset))


def _labelled(dataset: str, share: float = 1) -> _Numbers:
    info = DATASETS.get(dataset)
    if info is None:
        return None, None
    return info.train_images and info.train_images * share, info.val_images


def _detected(data: Mapping[str, Any]) -> _Numbers:
    """Of the splits that the papers train on; of others nobody knows."""
    dataset, folders = data.get("dataset"), data.get("train_path")
    if dataset == "coco":
        return _COCO
    sets = [*(data.get("train_sets") or ()), *(data.get("val_sets") or ())]
    if dataset == "voc" and sets == ["trainval", "test"]:
        return _VOC.get(len(folders) if isinstance(folders, list) else 1, (None, None))
    return None, None


def _other(dataset: str, there: _Numbers, wanted: _Numbers, slack: int = 0) -> str:
    """What is wrong with these numbers of images; nothing where they are right or not known.

    ``slack``: how many training images more or fewer are right, too.
    """
    for kind, found, right, off in zip(
        *(("training", "validation"), there, wanted, (slack, 0)), strict=True
    ):
        if found is None or right is None:
            continue
        if abs(found - right) > max(1, 0.005 * right, off):  # damaged: left out
            return f"{found:,} {kind} images, not the {right:,.0f} of {dataset}"
    return ""

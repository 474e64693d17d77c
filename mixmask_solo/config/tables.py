# SPDX-License-Identifier: MIT
"""Closed sets of names, and what is known about the data sets among them."""

from __future__ import annotations

from typing import NamedTuple

__all__ = ["DATASETS", "HEADS", "MOMENTUM_METHODS", "TWO_VIEW_METHODS", "DataSet"]


class DataSet(NamedTuple):
    """Facts about a data set that a configuration may leave out.

    Args:
        classes: number of classes; None where the files have to be asked.
        size: side of a test image in pixels.
        kind: ``embedded``, ``torchvision`` (it knows its own files) or ``folder``.
    """

    classes: int | None
    size: int
    kind: str


DATASETS = {
    "digits": DataSet(10, 32, "embedded"),
    "cifar10": DataSet(10, 32, "torchvision"),
    "cifar100": DataSet(100, 32, "torchvision"),
    "stl10": DataSet(10, 96, "torchvision"),
    "tiny-imagenet": DataSet(200, 64, "folder"),
    "imagenet100": DataSet(100, 224, "folder"),
    "imagenet": DataSet(1000, 224, "folder"),
    "custom": DataSet(None, 224, "folder"),
    "image_folder": DataSet(None, 224, "folder"),
    "parquet": DataSet(None, 224, "folder"),
}

MOMENTUM_METHODS = ("byol", "dino", "mocov2", "mocov2plus", "mocov3", "nnbyol", "ressl")
"""Methods with an EMA copy of the network; only these read ``momentum``."""

TWO_VIEW_METHODS = (
    *("mocov2", "mocov2plus", "simsiam"),
    *("barlow_twins", "dino", "mocov3", "nnbyol", "nnclr", "nnsiam", "ressl", "vicreg"),
)
"""Methods whose loss is written for exactly two large crops."""

HEADS = {"simclr": ("solo", "htdt", "google"), "simsiam": ("solo", "patrickhua")}
"""Choices of ``method_kwargs.head`` by method; the first is the default."""

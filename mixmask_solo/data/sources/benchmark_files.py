# SPDX-License-Identifier: MIT
"""Which files of a transfer benchmark's folder are whose, as torchvision and the authors say.

Each function takes ``data.train_path`` (or ``val_path``), which holds the data set in the layout
that torchvision or its authors' archives give it, and which split: ``train`` or ``test``.
"""

import json
import os
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal

import numpy as np

from mixmask_solo.config.files import read_lines

Part = Literal["train", "test"]
_CALTECH_TRAINING = 30  # images a class, the usual number; which ones is nowhere published
_PLACES = "data/vision/torralba/deeplearning/images256"


@dataclass(frozen=True)
class Listed:
    """Image files with a label each, and the classes in the order of the labels."""

    files: Sequence[str]
    labels: Sequence[int]
    classes: Sequence[str]


@dataclass(frozen=True)
class Benchmark:
    """How a data set is opened.

    Attributes:
        files: of one split of the data set below a folder; raises FileNotFoundError, RuntimeError
            or OSError where something is missing.
        needs: what has to lie in the folder, in words.
    """

    files: Callable[[Path, Part, bool], Listed]
    needs: str


def _torchvision(
    name: str, parts: dict[Part, tuple[str, ...]], files: str, labels: str = "_labels", **more: Any
) -> Callable[[Path, Part, bool], Listed]:
    """Reads the lists that a torchvision data set keeps of itself, so that no image is opened."""

    def read(folder: Path, part: Part, download: bool) -> Listed:
        import torchvision

        make = getattr(torchvision.datasets, name)
        sets = [make(folder, split=s, download=download, **more) for s in parts[part]]
        if any(s.classes != sets[0].classes for s in sets):
            raise ValueError(f"its splits {' and '.join(parts[part])} have other classes")
        paths = [os.fspath(path) for s in sets for path in getattr(s, files)]
        return Listed(paths, [int(y) for s in sets for y in getattr(s, labels)], sets[0].classes)

    return read


def _caltech101(folder: Path, part: Part, download: bool) -> Listed:
    """30 images of each of the 101 classes for training, drawn once for all, the rest for test."""
    root = folder / "caltech101"
    if not download and not (root / "101_ObjectCategories").is_dir():
        raise FileNotFoundError  # torchvision would make the folder
    import torchvision

    found = torchvision.datasets.Caltech101(folder, download=download)
    labels, draws = np.array(found.y), np.random.RandomState(0)
    files = [
        os.path.join(found.root, "101_ObjectCategories", found.categories[y], f"image_{i:04d}.jpg")
        for i, y in zip(found.index, found.y, strict=True)
    ]
    orders = [draws.permutation(np.flatnonzero(labels == y)) for y in range(len(found.categories))]
    taken = slice(None, _CALTECH_TRAINING) if part == "train" else slice(_CALTECH_TRAINING, None)
    chosen = np.sort(np.concatenate([order[taken] for order in orders]))
    return Listed([files[i] for i in chosen], labels[chosen].tolist(), found.categories)


def _cars(folder: Path, part: Part, _: bool) -> Listed:
    import torchvision

    found = torchvision.datasets.StanfordCars(folder, split=part)
    files, labels = zip(*found._samples, strict=True)
    return Listed(files, [int(y) for y in labels], found.classes)


def _sun397(folder: Path, part: Part, download: bool) -> Listed:
    """The first of the ten published partitions, 50 images of each class in either split."""
    import torchvision

    found = torchvision.datasets.SUN397(folder, download=download)
    word = "Training" if part == "train" else "Testing"
    base = folder / "SUN397"
    names = read_lines(_first(f"{word}_01.txt", base, folder, folder / "Partitions"))
    paths = [name.strip().strip("/") for name in names if name.strip()]
    classes = ["/".join(path.split("/")[1:-1]) for path in paths]
    labels = [found.class_to_idx[name] for name in classes]
    return Listed([str(base / path) for path in paths], labels, found.classes)


def _inaturalist2018(folder: Path, part: Part, _: bool) -> Listed:
    """The competition's ``train2018.json`` and ``val2018.json``; labels are their category ids."""
    name = "train2018.json" if part == "train" else "val2018.json"
    content = json.loads(_first(name, folder, folder / "annotations").read_text())
    of_image = {a["image_id"]: int(a["category_id"]) for a in content["annotations"]}
    images = sorted((image["id"], image["file_name"]) for image in content["images"])
    named = {int(c["id"]): str(c["name"]) for c in content["categories"]}
    files = [str(folder / file) for _, file in images]
    classes = [named[i] for i in range(len(named))]
    return Listed(files, [of_image[i] for i, _ in images], classes)


def _places205(folder: Path, part: Part, _: bool) -> Listed:
    """The authors' lists: a path below ``images256``, a blank or comma, a label."""
    name = "train_places205.csv" if part == "train" else "val_places205.csv"
    lines = read_lines(_first(name, folder, folder / "trainvalsplit_places205"))
    places = (folder / _PLACES, folder / "images256", folder)
    images = next(place for place in places if place.is_dir())
    rows = [line.replace(",", " ").rsplit(None, 1) for line in lines if line.strip()]
    classes = [str(i) for i in range(205)]  # the lists name none
    return Listed([str(images / path) for path, _ in rows], [int(y) for _, y in rows], classes)


def _first(name: str, *folders: Path) -> Path:
    found = next((folder / name for folder in folders if (folder / name).is_file()), None)
    if found is None:
        raise FileNotFoundError(f"{name} is not in it")
    return found


_TRAIN_AND_VAL: dict[Part, tuple[str, ...]] = {"train": ("train", "val"), "test": ("test",)}
_TRAINVAL: dict[Part, tuple[str, ...]] = {"train": ("trainval",), "test": ("test",)}
_TRAIN: dict[Part, tuple[str, ...]] = {"train": ("train",), "test": ("test",)}

BENCHMARKS: dict[str, Benchmark] = {
    "caltech101": Benchmark(_caltech101, "caltech101/101_ObjectCategories/"),
    "flowers102": Benchmark(
        _torchvision("Flowers102", _TRAIN_AND_VAL, "_image_files"),
        "flowers-102/ with jpg/, imagelabels.mat and setid.mat",
    ),
    "food101": Benchmark(
        _torchvision("Food101", _TRAIN, "_image_files"), "food-101/ with images/ and meta/"
    ),
    "pets": Benchmark(
        _torchvision("OxfordIIITPet", _TRAINVAL, "_images"),
        "oxford-iiit-pet/ with images/ and annotations/",
    ),
    "cars": Benchmark(
        _cars,
        "stanford_cars/ with cars_train/, cars_test/, devkit/ and cars_test_annos_withlabels.mat",
    ),
    "aircraft": Benchmark(
        _torchvision("FGVCAircraft", _TRAINVAL, "_image_files"), "fgvc-aircraft-2013b/"
    ),
    "dtd": Benchmark(
        _torchvision("DTD", _TRAIN_AND_VAL, "_image_files"), "dtd/dtd/ with images/ and labels/"
    ),
    "sun397": Benchmark(
        _sun397, "SUN397/, and Training_01.txt and Testing_01.txt of its Partitions.zip"
    ),
    "inaturalist2018": Benchmark(
        _inaturalist2018, "train_val2018/, train2018.json and val2018.json"
    ),
    "places205": Benchmark(_places205, f"{_PLACES}/, train_places205.csv and val_places205.csv"),
}

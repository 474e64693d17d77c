# SPDX-License-Identifier: MIT
"""Transfer benchmarks in miniature, in the layout that torchvision and their authors give them."""

from __future__ import annotations

import json

import numpy as np
import pytest
import scipy.io
import torchvision
from PIL import Image

from mixmask_solo.config import ConfigError
from mixmask_solo.config.datasets import DATASETS
from mixmask_solo.data import source
from mixmask_solo.data.sources.benchmark_files import BENCHMARKS

CLASSES = ("apple pie", "baby back ribs", "ceviche")


def photo(path, number):
    """An image that tells by its colour which it is."""
    path.parent.mkdir(parents=True, exist_ok=True)
    Image.new("RGB", (8, 6), (number, 2 * number % 256, 77)).save(path, quality=100)


def lines(path, rows):
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text("".join(f"{row}\n" for row in rows))


def caltech101(root):
    number = 0
    for name, count in (("BACKGROUND_Google", 2), ("Faces", 33), ("accordion", 31)):
        for i in range(1, count + 1):
            number += 1
            photo(root / "caltech101/101_ObjectCategories" / name / f"image_{i:04d}.jpg", number)
    return {"train": 60, "val": 4, "classes": ["Faces", "accordion"]}


def flowers102(root):
    base = root / "flowers-102"
    for i in range(1, 7):
        photo(base / "jpg" / f"image_{i:05d}.jpg", i)
    scipy.io.savemat(base / "imagelabels.mat", {"labels": [[1, 2, 102, 1, 2, 102]]})
    ids = {"trnid": [[1, 2]], "valid": [[3, 6]], "tstid": [[4, 5]]}
    scipy.io.savemat(base / "setid.mat", ids)
    return {"train": 4, "val": 2, "labels": [0, 1, 101, 101]}


def food101(root):
    base = root / "food-101"
    names = {name.replace(" ", "_"): name for name in CLASSES}
    for part, numbers in (("train", (1, 2)), ("test", (3,))):
        rows = {n: [f"{n}/{k}{i}" for i in numbers] for k, n in enumerate(names)}
        for n in {f for files in rows.values() for f in files}:
            photo(base / "images" / f"{n}.jpg", int(n[-1]))
        base.joinpath("meta").mkdir(exist_ok=True)
        (base / "meta" / f"{part}.json").write_text(json.dumps(rows))
        lines(base / "meta/classes.txt", names)
        lines(base / "meta/labels.txt", names.values())
    return {"train": 6, "val": 3, "classes": sorted(names)}


def pets(root):
    base = root / "oxford-iiit-pet"
    for part, numbers in (("trainval", (1, 2)), ("test", (3,))):
        rows = [f"{n}_{i} {k} 1 1" for k, n in ((1, "Bengal"), (2, "pug")) for i in numbers]
        lines(base / "annotations" / f"{part}.txt", rows)
        for row in rows:
            photo(base / "images" / f"{row.split()[0]}.jpg", int(row.split()[0][-1]))
    return {"train": 4, "val": 2, "classes": ["Bengal", "Pug"]}


def cars(root):
    base = root / "stanford_cars"
    (base / "devkit").mkdir(parents=True)
    kind = [("fname", "O"), ("class", "O")]
    for part, file, rows in (
        ("train", "devkit/cars_train_annos.mat", [("00001.jpg", 2), ("00002.jpg", 1)]),
        ("test", "cars_test_annos_withlabels.mat", [("00001.jpg", 1), ("00002.jpg", 2)]),
    ):
        scipy.io.savemat(base / file, {"annotations": np.array([rows], dtype=kind)})
        for name, label in rows:
            photo(base / f"cars_{part}" / name, label)
    names = np.array([["AM General Hummer", "Acura RL"]], dtype=object)
    scipy.io.savemat(base / "devkit/cars_meta.mat", {"class_names": names})
    return {"train": 2, "val": 2, "labels": [1, 0], "classes": ["AM General Hummer", "Acura RL"]}


def aircraft(root):
    data = root / "fgvc-aircraft-2013b/data"
    lines(data / "variants.txt", ["707-320", "A300B4"])
    lines(data / "images_variant_trainval.txt", ["11 A300B4", "12 707-320", "13 A300B4"])
    lines(data / "images_variant_test.txt", ["14 707-320"])
    for i in (11, 12, 13, 14):
        photo(data / f"images/{i}.jpg", i)
    return {"train": 3, "val": 1, "labels": [1, 0, 1], "classes": ["707-320", "A300B4"]}


def dtd(root):
    base = root / "dtd/dtd"
    for part, i in (("train", 1), ("val", 2), ("test", 3)):
        rows = [f"{name}/{name}_{i}.jpg" for name in ("zigzagged", "banded")]
        lines(base / "labels" / f"{part}1.txt", rows)
        for row in rows:
            photo(base / "images" / row, i)
    return {"train": 4, "val": 2, "labels": [1, 0, 1, 0], "classes": ["banded", "zigzagged"]}


def sun397(root):
    base = root / "SUN397"
    lines(base / "ClassName.txt", ["/a/abbey", "/a/apartment_building/outdoor"])
    rows = ["/a/apartment_building/outdoor/sun_b.jpg", "/a/abbey/sun_a.jpg", "/a/abbey/sun_c.jpg"]
    for i, row in enumerate(rows):
        photo(base / row[1:], i)
    lines(base / "Training_01.txt", rows[:2])
    lines(base / "Testing_01.txt", rows[2:])
    return {
        "train": 2,
        "val": 1,
        "labels": [1, 0],
        "classes": ["abbey", "apartment_building/outdoor"],
    }


def inaturalist2018(root):
    names = [{"id": 1, "name": "Bufo bufo"}, {"id": 0, "name": "Abies alba"}]
    for part, ids in (("train", (7, 3, 5)), ("val", (9,))):
        images = [{"id": i, "file_name": f"train_val2018/A/{i}/{i}.jpg"} for i in ids]
        marks = [{"id": i, "image_id": i, "category_id": int(i > 4)} for i in reversed(ids)]
        content = {"images": images, "annotations": marks, "categories": names}
        (root / f"{part}2018.json").write_text(json.dumps(content))
        for image in images:
            photo(root / image["file_name"], image["id"])
    return {"train": 3, "val": 1, "labels": [0, 1, 1], "classes": ["Abies alba", "Bufo bufo"]}


def places205(root):
    images = root / "data/vision/torralba/deeplearning/images256"
    rows = ["a/abbey/gsun_1.jpg 0", "v/valley/gsun 2.jpg 2", "w/x/gsun_3.jpg 1"]
    lines(root / "trainvalsplit_places205/train_places205.csv", rows)
    lines(root / "trainvalsplit_places205/val_places205.csv", ["a/abbey/gsun_4.jpg 0"])
    for i, row in enumerate([*rows, "a/abbey/gsun_4.jpg 0"]):
        photo(images / row.rsplit(" ", 1)[0], i)
    return {"train": 3, "val": 1, "labels": [0, 2, 1]}


WRITERS = [
    *(caltech101, flowers102, food101, pets, cars),
    *(aircraft, dtd, sun397, inaturalist2018, places205),
]


@pytest.fixture(autouse=True)
def believe(monkeypatch):
    """Lets torchvision accept files of other content than the official ones."""
    module = torchvision.datasets.flowers102
    monkeypatch.setattr(module, "check_integrity", lambda path, md5=None: True)


def opened(root, name, split, **data):
    block = {"dataset": name, "train_path": str(root), "val_path": str(root)} | data
    return source({"data": block}, split)


def test_every_benchmark_is_tried_here():
    assert {f.__name__ for f in WRITERS} == set(BENCHMARKS)
    assert set(BENCHMARKS) == {n for n, known in DATASETS.items() if known.kind == "benchmark"}


@pytest.mark.parametrize("write", WRITERS, ids=lambda f: f.__name__)
def test_splits_of_a_benchmark(tmp_path, write):
    told = write(tmp_path)
    train, val = (opened(tmp_path, write.__name__, split) for split in ("train", "val"))
    assert (len(train), len(val)) == (told["train"], told["val"])
    assert train.labels.tolist() == told.get("labels", train.labels.tolist())
    assert train.classes == val.classes == told.get("classes", train.classes)
    names = [[s.name(i) for i in range(len(s))] for s in (train, val)]
    assert not set(names[0]) & set(names[1])
    assert all(s.image(i).size == (8, 6) for s in (train, val) for i in range(len(s)))
    assert train.encoded(0)[:2].tolist() == [0xFF, 0xD8]  # the files as they are


@pytest.mark.parametrize(
    ("write", "parts", "make"),
    [
        (flowers102, ("train", "val"), "Flowers102"),
        (food101, ("train",), "Food101"),
        (pets, ("trainval",), "OxfordIIITPet"),
        (cars, ("train",), "StanfordCars"),
        (aircraft, ("trainval",), "FGVCAircraft"),
        (dtd, ("train", "val"), "DTD"),
    ],
)
def test_training_images_are_what_torchvision_hands_out(tmp_path, write, parts, make):
    write(tmp_path)
    ours = opened(tmp_path, write.__name__, "train")
    theirs = [getattr(torchvision.datasets, make)(tmp_path, split=part) for part in parts]
    pairs = [pair for one in theirs for pair in one]
    assert len(ours) == len(pairs)
    for i, (image, label) in enumerate(pairs):
        assert ours.label(i) == label
        assert np.array_equal(np.asarray(ours.image(i)), np.asarray(image.convert("RGB")))


def test_caltech_trains_on_thirty_of_each_class_and_always_the_same(tmp_path):
    caltech101(tmp_path)
    one, two = (opened(tmp_path, "caltech101", "train") for _ in range(2))
    assert np.bincount(one.labels).tolist() == [30, 30]
    assert one.identity() == two.identity()
    theirs = torchvision.datasets.Caltech101(tmp_path)
    both = {
        opened(tmp_path, "caltech101", s).name(i)
        for s, n in (("train", 60), ("val", 4))
        for i in range(n)
    }
    assert len(both) == len(theirs) == 64


@pytest.mark.parametrize("write", WRITERS, ids=lambda f: f.__name__)
def test_an_empty_folder_says_what_to_put_into_it(tmp_path, write):
    name = write.__name__
    with pytest.raises(ConfigError) as caught:
        opened(tmp_path, name, "train")
    said = str(caught.value)
    assert said.startswith(f"data.train_path is '{tmp_path}': ")
    assert BENCHMARKS[name].needs in said
    assert ("data.download=true" in said) == DATASETS[name].downloads
    assert list(tmp_path.iterdir()) == []  # looking makes nothing


def test_lists_that_cannot_be_understood(tmp_path):
    inaturalist2018(tmp_path)
    (tmp_path / "train2018.json").write_text('{"images": [{"id": 1, "file_name": "a"}]}')
    with pytest.raises(ConfigError, match=r"cannot be understood \(KeyError: 'annotations'\)"):
        opened(tmp_path, "inaturalist2018", "train")
    with pytest.raises(ConfigError, match="no such folder"):
        opened(tmp_path / "nowhere", "pets", "train")


def test_a_label_beyond_the_classes(tmp_path):
    places205(tmp_path)
    lines(tmp_path / "train_places205.csv", ["a/abbey/gsun_1.jpg 205"])
    with pytest.raises(ConfigError, match="label 205 in it, but places205 has 205 classes"):
        opened(tmp_path, "places205", "train")

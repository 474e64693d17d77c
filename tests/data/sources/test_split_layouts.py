# SPDX-License-Identifier: MIT
"""Splits as people unpack them: read as splits, or refused in one line that names the path."""

from __future__ import annotations

import re

import pytest

from mixmask_solo.config import ConfigError
from mixmask_solo.data.sources import read
from mixmask_solo.data.tools import check, open_path


@pytest.fixture
def put(tmp_path, picture):
    """``put("a/x.png", "b/")``: an image of its own at each path below ``set``, or a folder."""

    def make(*names):
        for number, name in enumerate(names):
            place = tmp_path / "set" / name
            (place if name.endswith("/") else place.parent).mkdir(parents=True, exist_ok=True)
            if not name.endswith("/"):
                picture(number).save(place, format="PNG")
        return tmp_path / "set"

    return make


def block(root, **more):
    paths = {"train_path": str(root), "val_path": str(root)}
    return {"dataset": "custom", "format": "image_folder"} | paths | more


def split(name, *, inner=""):
    return [f"{name}/{inner}{c}/{name}_{i}.png" for i, c in enumerate(("cat", "dog"))]


READ = {
    "capitals": (*split("Train"), *split("Test")),
    "long words": (*split("training"), *split("validation"), *split("evaluation")),
    "sets": (*split("trainset"), *split("testset")),
    "what a Mac leaves": (*split("train"), *split("val"), "__MACOSX/train/._x.png"),
    "a class folder called as an image": [
        f"{name}/{c}/{name}.png" for name in ("train", "val") for c in ("a.jpg", "dog")
    ],
    "test images without labels": (*split("train"), *split("val"), "test/9.png"),
}


@pytest.mark.parametrize("layout", READ)
def test_splits_are_read_as_splits(put, layout):
    root = put(*READ[layout])
    opened = open_path(root)
    assert list(opened) == ["train", "val"]
    assert opened["train"].classes == sorted({n.split("/")[1] for n in READ[layout][:2]})
    assert opened["train"].labels.tolist() == [0, 1]
    first = next(n for n in READ[layout][2:] if n.lower().startswith(("val", "test")))
    val = read(block(root), "val", classes=["0", *opened["train"].classes])
    assert val.name(0) == str(root / first)
    assert val.labels.tolist() == [1, 2]


REFUSED = {  # layout -> its files and the path of training images to give
    "imagenet beside its devkit": (
        ("train/n1/0.png", "train/n2/1.png", "val/n1/2.png", "ILSVRC2012_devkit_t12/data/"),
        "train",
    ),
    "kaggle's imagenet": (
        (
            *("Annotations/CLS-LOC/train/n1/", "ImageSets/CLS-LOC/", "Data/CLS-LOC/test/4.png"),
            *(f"Data/CLS-LOC/train/n{i}/{i}.png" for i in (1, 2)),
            "Data/CLS-LOC/val/3.png",
        ),
        "Data/CLS-LOC/train",
    ),
    "a copy of all splits beside them": (
        (
            *(*split("train"), *split("test"), "__MACOSX/x/._x.png"),
            *(f"chest_xray/{name}" for name in (*split("train"), *split("test"))),
        ),
        "train",
    ),
    "part of a name": ((*split("seg_train"), *split("seg_test"), "seg_pred/9.png"), "seg_train"),
    "part of a name, twice": (
        (
            *split("seg_train", inner="seg_train/"),
            *(*split("seg_test", inner="seg_test/"), "seg_pred/seg_pred/9.png"),
        ),
        "seg_train/seg_train",
    ),
    "a split in itself": (
        (*split("train", inner="train/"), *split("test", inner="test/")),
        "train/train",
    ),
    "the only folder": (split("pets"), "pets"),
    "the only folder, deep": (split("a", inner="b/c/"), "a/b/c"),
    "words run together": ((*split("trainA"), *split("testA"), *split("testB")), "trainA"),
    "flat": (("train/cat.0.png", "train/dog.1.png", "test1/1.png"), "train"),
    "images beside something else's labels": (
        ("images/train/0.png", "images/val/1.png", "labels/train/"),
        "images/train",
    ),
    "both words for one split": ((*split("train"), *split("training")), "train"),
    "splits beside a folder": ((*split("Train"), *split("Test"), *split("extra")), "Train"),
}


@pytest.mark.parametrize("on_error", ["raise", "skip"])
def test_what_holds_folders_and_no_image_is_no_class(put, on_error):
    root = put("images/cat/0.png", "images/dog/1.png", "annotations/cat/", "annotations/dog/")
    with pytest.raises(ConfigError, match=r"annotations holds folders but no image.*give "):
        read(block(root, on_error=on_error), "train")


@pytest.mark.parametrize("lenient", [False, True])
@pytest.mark.parametrize("layout", REFUSED)
def test_splits_are_not_classes(put, layout, lenient):
    names, give = REFUSED[layout]
    root = put(*names)
    data = block(root, on_error="skip" if lenient else "raise")
    with pytest.raises(ConfigError, match=re.escape(f"give '{root / give}'")) as caught:
        read(data, "train")
    assert "\n" not in str(caught.value)
    with pytest.raises(ConfigError, match=r"^the path is '.*give '"):
        check(open_path(root))


def test_of_flat_splits_the_way_out_is_named(put):
    root = put("train/0.png", "test/1.png")
    with pytest.raises(ConfigError, match=r"data\.no_labels=true.*classes\.txt"):
        read(block(root), "train")
    assert len(read(block(root, no_labels=True), "pretrain")) == 1


def test_the_path_of_validation_is_named_for_it(put):
    root = put(*split("seg_train"), *split("seg_test"))
    with pytest.raises(ConfigError, match=r"^data\.val_path is .*give '.*/seg_test'"):
        read(block(root), "val")


CLASSES = {
    "nested images": ("a/2019/deep/0.png", "b/2020/1.png", "c/2.png"),
    "one is called train": ("apple/deep/0.png", "train/1.png", "zebra/2.png"),
    "words of splits in names": ("test tube/0.png", "train station/1.png", "zebra/2.png"),
    "the word of one split": ("dog/0.png", "train station/deep/1.png", "zebra/2.png"),
    "images below, one is called train": ("ox/images/0.png", "train/images/1.png", "x/2.png"),
    "a neighbour called as an image": ("a.jpg/0.png", "train/1.png", "zebra/2.png"),
}


@pytest.mark.parametrize("layout", CLASSES)
def test_classes_stay_classes(put, layout):
    root = put(*CLASSES[layout])
    images = read(block(root), "train")
    assert images.classes == [name.split("/")[0] for name in CLASSES[layout]]
    assert images.labels.tolist() == [0, 1, 2]


def test_one_class_of_several_may_stand_alone_in_validation(put):
    root = put("b/deep/0.png")
    assert read(block(root), "val", classes=["a", "b"]).labels.tolist() == [1]


@pytest.mark.parametrize("layout", [name for name in REFUSED if "only" not in name])
def test_a_list_of_the_folders_makes_them_classes(put, layout):
    root = put(*REFUSED[layout][0])
    folders = sorted(e.name for e in root.iterdir() if e.name != "__MACOSX")[::-1]
    (root / "classes.txt").write_text("\n".join(folders))
    images = read(block(root, on_error="skip"), "train")
    assert images.classes == folders


@pytest.mark.parametrize(
    "content",
    [b"\xef\xbb\xbfdog\ncat\n", b"dog\r\ncat\r\n\r\n", b" dog \ncat\n\n\n", b"dog\n\ncat"],
)
def test_a_list_as_editors_leave_it_gives_the_order(put, content):
    root = put("cat/0.png", "dog/1.png")
    (root / "classes.txt").write_bytes(content)
    images = read(block(root), "train")
    assert images.classes == ["dog", "cat"]
    assert images.labels.tolist() == [0, 1]
    assert images.name(0).endswith("1.png")
    assert images.passed_over == {}


def test_a_list_in_another_encoding_is_named(put):
    root = put("cat/0.png", "dog/1.png")
    (root / "classes.txt").write_bytes(b"caf\xe9\n")
    with pytest.raises(ConfigError, match=r"classes\.txt is no UTF-8 text: byte 0xe9"):
        read(block(root), "train")


def test_an_image_named_twice_counts_once(put):
    root = put("images/0.png", "images/1.png")
    place = root / "val_annotations.txt"
    place.write_text("0.png\tn2\n1.png\tn1\n0.png\tn2\t0\n")
    images = read(block(root), "train")
    assert images.labels.tolist() == [1, 0]
    assert [images.name(i) for i in range(2)] == [str(root / f"images/{i}.png") for i in (0, 1)]
    place.write_text("0.png\tn2\n1.png\tn1\n0.png\tn1\n")
    with pytest.raises(ConfigError, match=r"annotations\.txt gives 0\.png the classes n2 and n1"):
        read(block(root), "train")

# SPDX-License-Identifier: MIT
from __future__ import annotations

import pickle

import numpy as np
import pytest
from torchvision.datasets import ImageFolder

from mixmask_solo.config import ConfigError
from mixmask_solo.data import ImageError, source
from mixmask_solo.data.sources.class_folders import IMAGENET100


def cfg(path, dataset="custom", **data):
    return {"data": {"dataset": dataset, "train_path": str(path)} | data}


def test_order_labels_and_pixels_are_those_of_torchvision(tmp_path, class_folders):
    class_folders(tmp_path, {"dog": 3, "cat": 12, "Ant": 2})
    class_folders(tmp_path / "cat", {"deeper": 2})
    ours, theirs = source(cfg(tmp_path), "train"), ImageFolder(str(tmp_path))
    assert ours.classes == theirs.classes
    assert ours.labels.tolist() == theirs.targets
    for i, (image, _) in enumerate(theirs):
        assert np.array_equal(np.asarray(ours.image(i)), np.asarray(image))
        assert ours.name(i) == theirs.samples[i][0]


def test_grey_images_come_in_rgb(tmp_path, picture):
    (tmp_path / "a").mkdir()
    picture(0, mode="L").save(tmp_path / "a" / "x.JPEG")
    assert source(cfg(tmp_path), "train").image(0).mode == "RGB"


def test_without_labels_a_flat_folder_will_do(tmp_path, picture):
    for i in range(3):
        picture(i).save(tmp_path / f"{i}.png")
    (tmp_path / "notes.txt").write_text("not an image")
    images = source(cfg(tmp_path, no_labels=True), "pretrain")
    assert images.labels.tolist() == [-1, -1, -1]
    assert images.classes == []
    assert images.num_classes == 1
    assert source(cfg(tmp_path, no_labels=True, val_path=str(tmp_path)), "val") is None


def test_a_folder_of_both_splits_serves_both(tmp_path, class_folders):
    class_folders(tmp_path / "train", {"a": 3, "b": 2})
    class_folders(tmp_path / "val", {"a": 1, "b": 1})
    train = source(cfg(tmp_path), "train")
    assert (len(train), train.num_classes) == (5, 2)
    assert len(source(cfg(tmp_path, val_path=str(tmp_path)), "val")) == 2


def test_without_a_path_there_is_no_validation(tmp_path, class_folders):
    class_folders(tmp_path / "val", {"a": 3})
    assert source(cfg(tmp_path), "val") is None


def test_validation_labels_follow_the_training_classes(tmp_path, class_folders):
    from mixmask_solo.data import build_classification

    class_folders(tmp_path / "t", {"a": 2, "b": 2, "c": 2})
    class_folders(tmp_path / "v", {"c": 1, "b": 1})
    data = build_classification(
        cfg(tmp_path / "t", val_path=str(tmp_path / "v")) | {"optimizer": {"batch_size": 2}}
    )
    data.setup()
    assert data.val_source.labels.tolist() == [1, 2]


def test_tiny_imagenet_as_distributed(tmp_path, class_folders, picture):
    class_folders(tmp_path / "train", {"n02": 2, "n01": 2}, below="images")
    images = tmp_path / "val" / "images"
    images.mkdir(parents=True)
    for i in range(3):
        picture(10 + i).save(images / f"val_{i}.JPEG")
    annotations = (
        "val_0.JPEG\tn02\t0\t0\t9\t9\nval_1.JPEG\tn01\t0\t0\t9\t9\nval_2.JPEG\tn02\t1\t1\t2\t2\n"
    )
    (tmp_path / "val" / "val_annotations.txt").write_text(annotations)
    tiny = cfg(tmp_path, "tiny-imagenet", val_path=str(tmp_path))
    assert source(tiny, "train").labels.tolist() == [0, 0, 1, 1]
    val = source(tiny, "val")
    assert val.labels.tolist() == [1, 0, 1]
    assert val.name(2).endswith("val_2.JPEG")
    assert val.image(1).size == (12, 10)
    (tmp_path / "val" / "val_annotations.txt").write_bytes(b"val_0.JPEG\tn\xe9\n")
    with pytest.raises(ConfigError, match=r"annotations\.txt is no UTF-8 text: byte 0xe9 .* 12;"):
        source(tiny, "val")


def test_imagenet100_is_filtered_out_of_a_larger_folder(tmp_path, class_folders):
    some = dict.fromkeys(sorted(IMAGENET100), 1)
    class_folders(tmp_path, some | {"n00000001": 1, "n99999999": 1})
    images = source(cfg(tmp_path, "imagenet100"), "train")
    assert images.classes == sorted(IMAGENET100)
    assert len(images) == 100
    assert set(images.labels.tolist()) == set(range(100))


def test_imagenet100_names_a_class_that_is_not_there(tmp_path):
    missing = min(IMAGENET100)
    for name in [*(IMAGENET100 - {missing}), "n1", "n2"]:
        (tmp_path / name).mkdir()
    with pytest.raises(ConfigError, match=f"1 of ImageNet-100's classes are not there, {missing}"):
        source(cfg(tmp_path, "imagenet100"), "train")


def test_a_damaged_image_is_named(tmp_path, class_folders):
    class_folders(tmp_path, {"a": 2})
    broken = tmp_path / "a" / "a_1.png"
    broken.write_bytes(broken.read_bytes()[:60])
    images = source(cfg(tmp_path), "train")
    assert images.image(0).size == (12, 10)
    with pytest.raises(ImageError, match=r"a_1\.png cannot be decoded"):
        images.image(1)


def test_a_folder_source_can_be_sent_to_a_process(tmp_path, class_folders):
    class_folders(tmp_path, {"a": 2, "b": 1})
    images = source(cfg(tmp_path), "train")
    copy = pickle.loads(pickle.dumps(images))
    assert [copy.name(i) for i in range(3)] == [images.name(i) for i in range(3)]


def empty(root):
    root.mkdir()


def classes_without_images(root):
    (root / "a").mkdir(parents=True)


def flat(root):
    root.mkdir()
    (root / "x.png").write_bytes(b"")


def a_file(root):
    root.write_text("")


def train_only(root):
    (root / "train" / "a").mkdir(parents=True)
    (root / "train" / "a" / "x.png").write_bytes(b"")


def absent_image(root):
    (root / "val").mkdir(parents=True)
    (root / "val" / "val_annotations.txt").write_text("x.JPEG\tn7\n")
    (root / "train" / "n7").mkdir(parents=True)
    (root / "train" / "n7" / "x.png").write_bytes(b"")


@pytest.mark.parametrize(
    ("make", "data", "message"),
    [
        (None, {}, r"data\.train_path is '.*set': no such folder"),
        (a_file, {}, "is a file; give a folder"),
        (empty, {}, r"data\.train_path is '.*set': no class folder in it"),
        (empty, {"no_labels": True}, r"no image in it \(\.jpg"),
        (flat, {}, r"no class folder in it; for images without labels set data\.no_labels=true"),
        (classes_without_images, {}, "class folder a holds no image"),
    ],
)
def test_one_line_says_what_is_wrong_with_the_folder(tmp_path, make, data, message):
    if make is not None:
        make(tmp_path / "set")
    with pytest.raises(ConfigError, match=message) as caught:
        source(cfg(tmp_path / "set", **data), "train")
    assert "\n" not in str(caught.value)


@pytest.mark.parametrize(
    ("make", "message"),
    [(train_only, "no folder of the val split"), (absent_image, "names images.x.JPEG, which is")],
)
def test_one_line_says_what_is_wrong_with_validation(tmp_path, make, message):
    make(tmp_path / "set")
    with pytest.raises(ConfigError, match=message):
        source(cfg(tmp_path / "set", val_path=str(tmp_path / "set")), "val")


def test_a_class_unknown_to_training_is_refused(tmp_path, class_folders):
    from mixmask_solo.data.sources import read

    class_folders(tmp_path, {"a": 1, "z": 1})
    data = cfg(tmp_path, val_path=str(tmp_path))["data"]
    with pytest.raises(ConfigError, match="class z is not among the 2 classes of the training"):
        read(data, "val", classes=["a", "b"])


def test_real_photographs(real_data):
    from mixmask_solo.data.sources.reading import read

    folder = str(real_data / "imagenet-sample")
    train = read({"dataset": "imagenet", "train_path": folder}, "train")
    val = read({"dataset": "imagenet", "val_path": folder}, "val", classes=train.classes)
    assert (len(train), len(val), train.num_classes) == (240, 40, 20)
    assert all(val.image(i).mode == "RGB" for i in range(len(val)))

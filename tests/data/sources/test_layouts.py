# SPDX-License-Identifier: MIT
"""Folders as people have them: read as what they are by every decoder, or refused in one line."""

from __future__ import annotations

import errno
import os
import shutil
import socket
from pathlib import Path

import numpy as np
import pytest
import torch

from mixmask_solo.config import ConfigError
from mixmask_solo.config.datasets import IMAGENET_STD
from mixmask_solo.data import ImageError, build_pretrain, source
from mixmask_solo.data.sources import read
from mixmask_solo.data.sources.folder import FolderSource
from mixmask_solo.data.tools import check, open_path

DECODERS = ("image_folder", "resident", "dali")
GREY = 255 * torch.tensor(IMAGENET_STD).view(3, 1, 1)  # levels of a normalised value of 1


@pytest.fixture(params=DECODERS)
def decoder(request):
    if request.param == "dali":
        pytest.importorskip("nvidia.dali", reason="the extra dali is not installed")
    return request.param


@pytest.fixture
def put(tmp_path, picture):
    """``put("a/x.png", ...)``: an image of its own at each path below ``set``."""
    numbers = iter(range(10_000))

    def make(*names):
        for name in names:
            place = tmp_path / "set" / name
            place.parent.mkdir(parents=True, exist_ok=True)
            picture(next(numbers)).save(place, format="PNG")
        return tmp_path / "set"

    return make


def block(root, decoder="image_folder", **more):
    paths = {"train_path": str(root), "val_path": str(root)}
    return {"dataset": "custom", "format": decoder, "storage": "auto"} | paths | more


def names(images):
    root = os.path.commonpath([images.root])
    return [os.path.relpath(images.name(i), root) for i in range(len(images))]


def tiny_val(put, *, inner="", annotated=True, leftover=None):
    root = put("train/n1/images/a.png", "train/n2/images/b.png", "train/n3/images/c.png")
    put(*(f"val/n{i}/{inner}val_{i}.png" for i in (3, 1, 2)))
    if annotated:
        lines = "".join(f"val_{i}.png\tn{i}\t0\t0\t9\t9\n" for i in (3, 1, 2))
        (root / "val" / "val_annotations.txt").write_text(lines)
    if leftover is not None:
        (root / "val" / "images").mkdir()
        for name in leftover:
            put(f"val/images/{name}")
    return root


def links(put):
    root = put("a/x.png", "b/y.png")
    (root / "a" / "loop").symlink_to(root / "a", target_is_directory=True)
    (root / "b" / "other").symlink_to(root / "a", target_is_directory=True)
    (root / "up").symlink_to(root.parent, target_is_directory=True)
    return root


def clutter(put):
    root = put("a/x.png", "a/._x.png", "b/.ipynb_checkpoints/y-checkpoint.png", "b/y.png")
    put(".ipynb_checkpoints/x-checkpoint.png", "__MACOSX/a/._x.png", "a/@eaDir/x.png/thumb.png")
    put("preview.png")
    for name in ("Thumbs.db", ".DS_Store", "desktop.ini", "b/Thumbs.db", "b/notes.txt"):
        (root / name).write_bytes(b"no image")
    return root


def listed(root, *lines):
    (root / "classes.txt").write_text("\n".join(lines) + "\n")
    return root


# layout -> (what makes it, its training classes, (file, label) of training, labels of validation)
LAYOUTS = {
    "class folders": (
        lambda put: put("b/1.png", "a/deep/er/2.png", "a/0.png"),
        ["a", "b"],
        [("a/0.png", 0), ("a/deep/er/2.png", 0), ("b/1.png", 1)],
        [0, 0, 1],
    ),
    "splits side by side": (
        lambda put: put("train/a/0.png", "train/b/1.png", "val/b/2.png", "test/a/3.png"),
        ["a", "b"],
        [("a/0.png", 0), ("b/1.png", 1)],
        [1],
    ),
    "a class named train": (
        lambda put: put("apple/0.png", "test/1.png", "train/2.png", "zebra/3.png"),
        ["apple", "test", "train", "zebra"],
        [("apple/0.png", 0), ("test/1.png", 1), ("train/2.png", 2), ("zebra/3.png", 3)],
        [0, 1, 2, 3],
    ),
    "no class but train and val, listed": (
        lambda put: listed(put("train/0.png", "val/1.png", "val/2.png"), "val", "train"),
        ["val", "train"],
        [("train/0.png", 1), ("val/1.png", 0), ("val/2.png", 0)],
        [0, 0, 1],
    ),
    "every class with a folder below, one is named train": (
        lambda put: put("apple/images/0.png", "train/images/1.png"),
        ["apple", "train"],
        [("apple/images/0.png", 0), ("train/images/1.png", 1)],
        [0, 1],
    ),
    "tiny-imagenet, sorted": (tiny_val, ["n1", "n2", "n3"], None, [0, 1, 2]),
    "tiny-imagenet, sorted, images below": (
        lambda put: tiny_val(put, inner="images/"),
        ["n1", "n2", "n3"],
        None,
        [0, 1, 2],
    ),
    "tiny-imagenet, sorted, an empty folder left": (
        lambda put: tiny_val(put, leftover=[]),
        ["n1", "n2", "n3"],
        None,
        [0, 1, 2],
    ),
    "tiny-imagenet, sorted by copying": (
        lambda put: tiny_val(put, leftover=["val_1.png", "val_2.png", "val_3.png"]),
        ["n1", "n2", "n3"],
        None,
        [0, 1, 2],
    ),
    "tiny-imagenet, sorted, only the empty folder left": (
        lambda put: tiny_val(put, annotated=False, leftover=[]),
        ["n1", "n2", "n3"],
        None,
        [0, 1, 2],
    ),
    "clutter": (clutter, ["a", "b"], [("a/x.png", 0), ("b/y.png", 1)], [0, 1]),
    "links": (
        links,
        ["a", "b"],
        [("a/x.png", 0), ("b/other/x.png", 1), ("b/y.png", 1)],
        [0, 1, 1],
    ),
}


@pytest.mark.parametrize("layout", LAYOUTS)
def test_a_layout_is_read_alike_by_every_decoder(put, views_cfg, decoder, layout):
    make, classes, train, val = LAYOUTS[layout]
    root = make(put)
    cfg = views_cfg(block(root, decoder), 1, crop_size=10) | {"dali": {"device": "cpu"}}
    data = build_pretrain(cfg)
    data.setup()
    assert data.opened.classes == classes
    assert data.num_classes == len(classes)
    if train is not None:
        found = sorted(zip(names(data.opened), data.opened.labels.tolist(), strict=True))
        assert found == sorted(train)
    batches = list(data.val_dataloader())
    assert sorted(int(y) for _, y in batches) == val
    plain = build_pretrain(views_cfg(block(root, "image_folder"), 1, crop_size=10))
    for (x, y), (u, v) in zip(batches, plain.val_dataloader(), strict=True):
        assert torch.equal(y, v)
        assert ((x - u).abs() * GREY).max() < 1.01


def half_sorted(put):
    return tiny_val(put, leftover=["val_1.png", "val_7.png"])


def stray(name):
    def make(put):
        root = put("a/0.png", "b/1.png")
        (root / name).parent.mkdir(exist_ok=True)
        (root / name).write_bytes(b"")
        return root

    return make


def leftover_tar(put):
    root = put("train/n1/0.png", "train/n2/1.png", "val/n1/2.png")
    (root / "train" / "n1.tar").write_bytes(b"")
    return root


def two_storages(put):
    root = put("a/0.png").parent / "shards"
    root.mkdir()
    for name in ("0.tar", "0.parquet"):
        (root / name).write_bytes(b"")
    return root


AMBIGUOUS = {
    "a tar": (stray("backup.tar"), r"backup\.tar.*data\.storage"),
    "a parquet": (stray("meta.parquet"), r"meta\.parquet.*data\.storage"),
    "a parquet below data": (stray("data/x.parquet"), r"data/x\.parquet.*data\.storage"),
    "the tars of unpacked classes": (leftover_tar, r"train/n1\.tar.*data\.storage"),
    "both kinds of shards": (two_storages, r"0\.(tar|parquet).*0\.(tar|parquet).*data\.storage"),
}


@pytest.mark.parametrize("form", ["resident", "dali"])
@pytest.mark.parametrize("layout", AMBIGUOUS)
def test_a_stray_archive_is_not_silently_the_data_set(put, layout, form):
    make, message = AMBIGUOUS[layout]
    root = make(put)
    with pytest.raises(ConfigError, match=message) as caught:
        source({"data": block(root, form)}, "train")
    assert "\n" not in str(caught.value)
    with pytest.raises(ConfigError, match=rf"^the path is .*{message}"):
        open_path(root)


def test_a_stray_tar_is_not_cifar(tmp_path):
    (tmp_path / "cifar-10-batches-py").mkdir()
    (tmp_path / "imagenet.tar").write_bytes(b"")
    with pytest.raises(ConfigError, match=r"imagenet\.tar' beside 'cifar-10-batches-py'"):
        source({"data": block(tmp_path, "resident", dataset="cifar10")}, "train")


def test_named_it_is_read(put):
    root = stray("backup.tar")(put)
    assert len(source({"data": block(root, "resident", storage="image_folder")}, "train")) == 2
    assert len(open_path(root, storage="image_folder")["train"]) == 2


def test_a_hidden_archive_is_none(put):
    root = stray("._backup.tar")(put)
    os.mkfifo(root / "pipe.tar")
    assert len(source({"data": block(root, "resident")}, "train")) == 2


def test_a_half_sorted_folder_is_refused_in_one_line(put):
    data = block(half_sorted(put))
    with pytest.raises(ConfigError, match=r"images/val_7\.png .*val/images") as caught:
        read(data, "val", classes=read(data, "train").classes)
    assert "\n" not in str(caught.value)


def test_without_labels_splits_hold_images_themselves(put):
    root = put("train/0.png", "train/1.png", "val/2.png")
    assert len(source({"data": block(root, no_labels=True)}, "pretrain")) == 2
    put("more/3.png")
    assert len(source({"data": block(root, no_labels=True)}, "pretrain")) == 4


def test_the_class_of_tiny_imagenets_validation_alone(put, tmp_path):
    root = put("images/val_0.png", "images/val_1.png", "images/spare.png")
    (root / "val_annotations.txt").write_text("val_0.png\tn2\nval_1.png\tn1\n")
    images = source({"data": block(root)}, "train")
    assert (images.labels.tolist(), images.classes) == ([1, 0], ["n1", "n2"])


@pytest.fixture
def pipes(put):
    root = put("a/x.png", "b/y.png")
    os.mkfifo(root / "a" / "pipe.jpg")
    (root / "a" / "null.png").symlink_to("/dev/null")
    here = os.getcwd()
    os.chdir(root / "b")  # a socket's path is short
    with socket.socket(socket.AF_UNIX) as end:
        end.bind("end.jpg")
    os.chdir(here)
    return root


@pytest.mark.parametrize("no_labels", [False, True])
def test_pipes_sockets_and_devices_are_passed_over(pipes, no_labels):
    images = source({"data": block(pipes, no_labels=no_labels)}, "train")
    assert names(images) == ["a/x.png", "b/y.png"]
    found = check(open_path(pipes, no_labels=no_labels)).splits["train"]
    assert found.passed_over == {"pipes, sockets, devices": 3}
    assert not found.damaged


def test_a_pipe_that_takes_a_files_place_is_not_waited_for(put):
    root = put("a/x.png", "a/y.png")
    images = source({"data": block(root)}, "train")
    (root / "a" / "x.png").unlink()
    os.mkfifo(root / "a" / "x.png")
    for attempt in (images.image, images.encoded):
        with pytest.raises(ValueError, match=r"x\.png .*no regular file"):
            attempt(0)


@pytest.mark.skipif(not os.path.exists("/proc/self/mem"), reason="no file that fails when read")
def test_an_error_of_the_disk_is_no_short_file():
    images = FolderSource(Path("/proc/self"), ["mem"], [0], ["a"])
    with pytest.raises(ImageError, match="Input/output error") as caught:
        images.image(0)
    assert caught.value.__cause__.errno == errno.EIO


def test_links_to_nowhere_are_damaged_images(put):
    root = put("a/x.png")
    (root / "a" / "self.jpg").symlink_to("self.jpg")
    (root / "a" / "gone.jpg").symlink_to("nothing.jpg")
    found = check(open_path(root)).splits["train"]
    assert sorted(one.name.rpartition("/")[2] for one in found.damaged) == ["gone.jpg", "self.jpg"]
    assert found.images == 3


def test_check_tells_what_it_passed_over(put):
    root = clutter(put)
    put("a/z.jp2")
    assert check(open_path(root)).splits["train"].passed_over == {
        "hidden files": 5,
        "hidden folders": 4,
        "images outside the class folders": 1,
        ".txt": 1,
        ".jp2": 1,
    }


def test_check_counts_links_that_lead_back(put):
    assert check(open_path(links(put))).splits["train"].passed_over == {
        "links to a folder above them": 3  # one of them is met twice
    }


def test_check_tells_of_what_the_annotations_do_not_name(put):
    root = put("images/val_0.png", "images/spare.png")
    (root / "val_annotations.txt").write_text("val_0.png\tn2\n")
    found = check(open_path(root)).splits["train"]
    assert found.passed_over == {"images that val_annotations.txt does not name": 1}
    shutil.move(root / "images", root / "n2")
    assert check(open_path(root)).splits["train"].passed_over == {".txt": 1}


@pytest.mark.skipif(os.geteuid() == 0, reason="root may read everything")
def test_a_folder_without_permission_is_named(put):
    root = put("a/x.png", "b/y.png")
    (root / "b").chmod(0)
    try:
        with pytest.raises(PermissionError, match=r"Permission denied: '.*/b'"):
            source({"data": block(root)}, "train")
    finally:
        (root / "b").chmod(0o700)


def test_suffixes_that_pillow_reads_are_found(put):
    pillow = pytest.importorskip("PIL._avif")
    assert pillow
    root = put("a/x.jfif", "a/y.AVIF")
    assert names(source({"data": block(root)}, "train")) == ["a/x.jfif", "a/y.AVIF"]
    assert np.asarray(source({"data": block(root)}, "train").image(0)).shape == (10, 12, 3)

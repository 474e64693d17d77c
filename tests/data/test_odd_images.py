# SPDX-License-Identifier: MIT
"""Images as they come: odd ones are read as Pillow reads them, damaged ones are named."""

from __future__ import annotations

import io
import logging
import os

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
import torch
from PIL import Image

from mixmask_solo.config import ConfigError
from mixmask_solo.data import ImageError, build_classification, build_pretrain, source

PHOTO = (40, 30)


def save(image, path, **options):
    path.parent.mkdir(parents=True, exist_ok=True)
    image.save(path, **options)
    return path


def cfg(root, **data):
    return {"data": {"dataset": "custom", "train_path": str(root)} | data}


@pytest.fixture
def only(tmp_path):
    """``only(name, image)``: the source that holds one file."""

    def make(name, image=None, raw=None, **options):
        path = tmp_path / "set" / "class" / name
        path.parent.mkdir(parents=True)
        if image is not None:
            image.save(path, **options)
        else:
            path.write_bytes(raw)
        return source(cfg(tmp_path / "set"), "train")

    return make


@pytest.mark.parametrize("name", ["x.png", "x.webp", "x.bmp", "x.gif", "x.tiff", "x.ppm", "x.JPG"])
def test_every_usual_format_is_found_and_read(only, picture, name):
    assert only(name, picture(0, PHOTO)).image(0).size == PHOTO


def test_the_content_counts_not_the_name(only, picture):
    buffer = io.BytesIO()
    picture(0, PHOTO).save(buffer, "GIF")
    assert only("really_a_gif.jpg", raw=buffer.getvalue()).image(0).mode == "RGB"


@pytest.mark.parametrize(
    ("name", "mode"),
    [("g.jpg", "L"), ("c.jpg", "CMYK"), ("p.png", "P"), ("b.png", "1"), ("la.png", "LA")],
)
def test_modes_are_converted_as_pillow_does(only, picture, name, mode):
    images = only(name, picture(0, PHOTO).convert(mode))
    with Image.open(images.name(0)) as expected:
        assert expected.mode == mode
        assert np.array_equal(images.image(0), expected.convert("RGB"))


@pytest.mark.filterwarnings("ignore:Palette images")
def test_a_palette_with_alpha(only, picture):
    palette = picture(0, PHOTO).convert("P")
    images = only("t.png", palette, transparency=bytes(range(256)))
    assert np.array_equal(images.image(0), palette.convert("RGB"))


def test_sixteen_bits_are_clipped_to_eight(only):
    """Not scaled: everything above 255 is white. So Pillow and torchvision's loader have it."""
    deep = np.array([[0, 100, 255], [256, 1000, 65535]], dtype=np.uint16)
    image = only("deep.png", Image.fromarray(deep)).image(0)
    assert np.array_equal(np.asarray(image)[..., 0], [[0, 100, 255], [255, 255, 255]])


def test_the_first_frame_of_an_animation(only, picture):
    frames = [picture(i, PHOTO).convert("P") for i in range(3)]
    images = only("a.gif", frames[0], save_all=True, append_images=frames[1:])
    assert np.array_equal(images.image(0), frames[0].convert("RGB"))


@pytest.mark.parametrize("name", ["x.jpg", "x.png"])
def test_orientation_is_ignored(only, picture, name):
    exif = Image.Exif()
    exif[0x0112] = 6  # turn by 90 degrees
    images = only(name, picture(0, PHOTO), exif=exif)
    assert images.image(0).size == PHOTO
    with Image.open(images.name(0)) as stored:
        assert stored.getexif()[0x0112] == 6


@pytest.mark.parametrize("size", [(1, 1), (1, 300), (20_000, 20), (20, 20_000)])
@pytest.mark.parametrize("build", [build_pretrain, build_classification])
def test_extreme_sizes_pass_through_every_loader(tmp_path, views_cfg, size, build):
    path = save(Image.new("RGB", size, (250, 120, 30)), tmp_path / "a" / "x.png")
    block = {"dataset": "custom", "train_path": str(tmp_path), "val_path": str(tmp_path)}
    data = build(views_cfg(block, 1, crop_size=16))
    views = next(iter(data.train_dataloader()))
    views = views[1] if build is build_pretrain else views[:1]
    for x in (*views, next(iter(data.val_dataloader()))[0]):
        assert x.shape == (1, 3, 16, 16)
        assert torch.isfinite(x).all()
    assert path.exists()


@pytest.mark.parametrize(
    "name", ["two words.png", 'it\'s "quoted".png', "größe 猫.png", "line\nbreak.png", "-r.png"]
)
def test_any_file_name_will_do(only, picture, name):
    images = only(name, picture(0, PHOTO))
    assert images.image(0).size == PHOTO
    assert os.path.basename(images.name(0)) == name


def test_a_name_that_is_no_text(tmp_path, picture):
    folder = os.fsencode(tmp_path / "a")
    os.mkdir(folder)
    place = os.path.join(folder, b"\xff\xfe.png")
    picture(0).save(tmp_path / "a.png")
    os.rename(tmp_path / "a.png", place)
    images = source(cfg(tmp_path), "train")
    assert images.image(0).mode == "RGB"
    with open(place, "wb"):
        pass
    with pytest.raises(ImageError, match=r"\\udcff\\udcfe\.png cannot") as caught:
        images.image(0)
    str(caught.value).encode("utf-8")


def jpeg(picture, **options):
    buffer = io.BytesIO()
    picture(0, (64, 48)).save(buffer, "JPEG", **options)
    return buffer.getvalue()


@pytest.mark.parametrize(
    "damage",
    [
        lambda raw: raw[: len(raw) // 2],
        lambda raw: raw[:20],
        lambda raw: b"",
        lambda raw: b"\0" * len(raw),
        lambda raw: b"<html>404 Not Found</html>",
        lambda raw: raw[:200] + raw[300:400],
    ],
    ids=["half", "head", "empty", "zeros", "html", "hole"],
)
@pytest.mark.parametrize("kind", ["JPEG", "progressive"])
def test_damaged_bytes_are_named_in_one_line(only, picture, damage, kind):
    raw = damage(jpeg(picture, progressive=kind == "progressive"))
    with pytest.raises(ImageError, match=r"torn\\nfile\.jpg cannot be decoded: .") as caught:
        only("torn\nfile.jpg", raw=raw).image(0)
    assert "\n" not in str(caught.value)


def test_a_broken_link_is_not_passed_over(tmp_path, picture):
    save(picture(0), tmp_path / "a" / "x.png")
    (tmp_path / "a" / "y.png").symlink_to(tmp_path / "gone.png")
    images = source(cfg(tmp_path), "train")
    assert len(images) == 2
    with pytest.raises(ImageError, match=r"y\.png cannot be decoded: .*No such file"):
        images.image(1)


@pytest.mark.skipif(os.geteuid() == 0, reason="root may read everything")
def test_a_file_without_permission(tmp_path, picture):
    save(picture(0), tmp_path / "a" / "x.png").chmod(0)
    with pytest.raises(ImageError, match=r"x\.png cannot be decoded: .*Permission"):
        source(cfg(tmp_path), "train").image(0)


def test_a_gigantic_image_is_refused_before_it_fills_the_memory(only):
    raw = b"P6 60000 60000 255\n" + bytes(100)
    with pytest.raises(ImageError, match="decompression bomb"):
        only("huge.ppm", raw=raw).image(0)


def test_an_empty_class_folder_stops_a_strict_run_and_is_told_by_a_lenient_one(
    tmp_path, class_folders, caplog
):
    class_folders(tmp_path, {"a": 2, "c": 2})
    (tmp_path / "b").mkdir()
    with pytest.raises(ConfigError, match=r"class folder b holds no image .*data\.on_error=skip"):
        source(cfg(tmp_path), "train")
    with caplog.at_level(logging.WARNING):
        images = source(cfg(tmp_path, on_error="skip"), "train")
    assert images.classes == ["a", "b", "c"]
    assert images.labels.tolist() == [0, 0, 2, 2]
    assert "class folder b holds no image" in caplog.text


def test_half_a_parquet_shard_stops_the_run_whatever_the_policy(tmp_path, shard):
    shard(tmp_path / "train-0.parquet", [0, 1] * 4, ["a", "b"])
    whole = shard(tmp_path / "train-1.parquet", [0, 1] * 4, ["a", "b"])
    whole.write_bytes(whole.read_bytes()[: whole.stat().st_size // 2])
    for mode in ("raise", "skip", "blank"):
        with pytest.raises(ConfigError, match=r"train-1\.parquet is not a readable Parquet file"):
            source(cfg(tmp_path, format="parquet", on_error=mode), "train")


def test_rows_of_a_parquet_file_without_an_image(tmp_path, picture, views_cfg):
    whole = io.BytesIO()
    picture(0).save(whole, "PNG")
    images = [
        {"bytes": whole.getvalue(), "path": None},
        {"bytes": None, "path": "a.png"},
        None,
        {"bytes": b"", "path": None},
        {"bytes": whole.getvalue()[:50], "path": None},
        {"bytes": whole.getvalue(), "path": None},
    ]
    table = pa.table({"image": images, "label": [0, 1, 0, 1, 0, 1]})
    pq.write_table(table, tmp_path / "train.parquet")
    path = str(tmp_path / "train.parquet")
    block = {"dataset": "custom", "format": "parquet", "train_path": path, "val_path": path}
    strict = source({"data": block}, "train")
    for row in (1, 2, 3, 4):
        with pytest.raises(
            ImageError, match=rf"train\.parquet row {row} of row group 0 (cannot|holds no)"
        ):
            strict.image(row)
    data = build_pretrain(views_cfg(block | {"on_error": "skip"}, 2))
    assert torch.cat([y for _, y in data.val_dataloader()]).tolist() == [0, 1]
    seen = [i for batch in data.train_dataloader() for i in batch[0].tolist()]
    assert set(seen) <= {0, 5}
    assert len(seen) == 6
    assert len(data.tolerance.damaged()) == 4

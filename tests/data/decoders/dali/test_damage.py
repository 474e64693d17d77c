# SPDX-License-Identifier: MIT
"""Damaged and odd images through DALI: counts, substitutes, names, and never a stop."""

from __future__ import annotations

import io

import numpy as np
import pytest
import torch
from PIL import Image

from mixmask_solo.data import ImageError, build_pretrain


def epoch(data, number=0):
    loader = data.train_dataloader()
    loader.batches.set_epoch(number)
    return list(loader)


PLAIN = {
    "rrc": {"enabled": False},
    "color_jitter": {"prob": 0.0},
    "grayscale": {"prob": 0.0},
    "gaussian_blur": {"prob": 0.0},
    "solarization": {"prob": 0.0},
    "equalization": {"prob": 0.0},
    "horizontal_flip": {"prob": 0.0},
    "crop_size": 16,
}


def scramble(file):
    """Keeps header and end, so that the damage shows in decoding alone."""
    data = bytearray(file.read_bytes())
    at = data.index(b"\xff\xc4")  # the Huffman tables
    data[at + 5 : at + 20] = b"\xff" * 15
    file.write_bytes(bytes(data))


def cut(file):
    file.write_bytes(file.read_bytes()[:400])


def empty(file):
    file.write_bytes(b"")


@pytest.mark.parametrize(
    ("damage", "workers"), [(scramble, 0), (cut, 0), (empty, 0), (scramble, 1)]
)
def test_a_damaged_image_is_replaced_and_counted(photos, dali_cfg, damage, workers):
    path = photos(12)
    damage(path / "a" / "004.jpg")
    data = build_pretrain(dali_cfg(path, 4, {"on_error": "skip", "num_workers": workers}, **PLAIN))
    clean = build_pretrain(
        dali_cfg(path, 4, {"on_error": "skip", "format": "image_folder"}, **PLAIN)
    )
    for ours, theirs in zip(epoch(data), epoch(clean), strict=True):
        assert torch.equal(ours[0], theirs[0])  # the substitute is the same in every decoder
        assert torch.equal(ours[2], theirs[2])
        assert ((ours[1][0] - theirs[1][0]).abs() * 0.229 * 255).max() < 2.5
    assert [found.name for found in data.tolerance.damaged()] == [str(path / "a" / "004.jpg")]


@pytest.mark.parametrize("damage", [scramble, cut])
def test_raise_names_the_file(photos, dali_cfg, damage):
    path = photos(8)
    damage(path / "b" / "003.jpg")
    with pytest.raises(ImageError, match=r"003\.jpg cannot be decoded"):
        epoch(build_pretrain(dali_cfg(path, 4)))


def test_a_blank_image_keeps_its_label(photos, dali_cfg):
    path = photos(8)
    cut(path / "b" / "003.jpg")
    data = build_pretrain(dali_cfg(path, 4, {"on_error": "blank"}, **PLAIN))
    number = [data.opened.name(i).endswith("003.jpg") for i in range(8)].index(True)
    rows = [(b[1][0][r], int(b[2][r])) for b in epoch(data) for r in range(4) if b[0][r] == number]
    assert len(rows) == 1
    assert rows[0][1] == 1
    assert rows[0][0].abs().max() < 0.02  # the mean colour is normalised to nearly 0


def test_validation_leaves_damaged_images_out(photos, dali_cfg):
    train, val = photos(4), photos(6, "val")
    scramble(val / "a" / "002.jpg")
    cfg = dali_cfg(train, 2, {"val_path": str(val), "on_error": "skip"}, **PLAIN)
    data = build_pretrain(cfg)
    assert [len(x) for x, _ in data.val_dataloader()] == [1, 2, 2]
    assert len(data.tolerance.damaged()) == 1


def odd_images(folder, photo):
    """Formats and modes that DALI does not decode, or not as Pillow does."""
    rng = np.random.default_rng(0)
    photo(0).save(folder / "a.gif")
    photo(1).save(folder / "b.webp", lossless=True)
    photo(2).save(folder / "c.bmp")
    photo(3, mode="CMYK").save(folder / "d.jpg")
    photo(4, mode="L").save(folder / "e.jpg")
    photo(5).convert("P").save(folder / "f.png")
    photo(6).convert("RGBA").save(folder / "g.png")
    Image.fromarray(rng.integers(0, 65536, (40, 30), dtype=np.uint16)).save(folder / "h.png")
    photo(7, size=(1, 1)).save(folder / "i.jpg")
    photo(8, size=(400, 2)).save(folder / "j.jpg")
    exif = Image.Exif()
    exif[0x0112] = 6  # turned by 90 degrees, which nobody looks at
    photo(9).save(folder / "k.jpg", exif=exif)
    photo(10).save(folder / "l übér's.jpg", progressive=True)


@pytest.mark.parametrize("decoder", ["image_folder", "dali"])
def test_odd_images_are_no_damage(tmp_path, photo, dali_cfg, decoder):
    (tmp_path / "x").mkdir()
    odd_images(tmp_path / "x", photo)
    data = build_pretrain(dali_cfg(tmp_path, 1, {"format": decoder}, **PLAIN))
    assert len(epoch(data)) == len(data.opened) >= 11


def test_odd_images_look_as_pillow_has_them(tmp_path, photo, dali_cfg):
    (tmp_path / "x").mkdir()
    odd_images(tmp_path / "x", photo)
    ours, theirs = (
        epoch(build_pretrain(dali_cfg(tmp_path, 1, {"format": form}, **PLAIN)))
        for form in ("dali", "image_folder")
    )
    for a, b in zip(ours, theirs, strict=True):
        assert torch.equal(a[0], b[0])
        assert ((a[1][0] - b[1][0]).abs() * 0.229 * 255).max() < 2.5


def fuzzed(whole, rng):
    data = bytearray(whole)
    kind = rng.integers(3)
    if kind == 0:
        for at in rng.integers(0, len(data), rng.integers(1, 30)):
            data[at] ^= 1 << rng.integers(8)
    elif kind == 1:
        del data[rng.integers(1, len(data)) :]
    else:
        a, b = sorted(rng.integers(0, len(data), 2))
        data[a:b] = data[b : 2 * b - a]
    return bytes(data)


def test_fuzzed_files_count_as_pillow_counts_them(tmp_path, jpeg, dali_cfg):
    rng = np.random.default_rng(1)
    (tmp_path / "x").mkdir()
    damaged = []
    for i in range(120):
        data = fuzzed(jpeg(i % 6), rng) if i % 10 else jpeg(i % 6)
        (tmp_path / "x" / f"{i:03d}.jpg").write_bytes(data)
        try:
            Image.open(io.BytesIO(data)).convert("RGB")
        except Exception:
            damaged.append(f"{i:03d}.jpg")
    limits = {"on_error": "skip", "max_errors": 1000}
    data = build_pretrain(dali_cfg(tmp_path, 8, limits, **PLAIN))
    assert sum(len(batch[0]) for batch in epoch(data)) == 120
    met = {found.name.rpartition("/")[2] for found in data.tolerance.damaged()}
    assert met == set(damaged)

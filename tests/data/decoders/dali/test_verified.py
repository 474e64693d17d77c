# SPDX-License-Identifier: MIT
"""Damage between whole markers: Pillow's word counts, and it is asked once."""

from __future__ import annotations

import io

import numpy as np
import pytest
from PIL import Image

from mixmask_solo.data import ImageError, build_pretrain
from mixmask_solo.data.decoders.dali.feeder import Feeder
from mixmask_solo.data.decoders.dali.jpeg import is_whole, jpeg_size


@pytest.fixture
def hollow(jpeg):
    """A file with the last scans of another behind its own; its markers are in order."""
    own, other = jpeg(0, size=(200, 160)), jpeg(1, size=(200, 160), progressive=True)
    scans = other.rindex(b"\xff\xc4")
    found = own[:-2] + other[scans:]
    encoded = np.frombuffer(found, dtype=np.uint8)
    assert jpeg_size(encoded) == (160, 200)
    with pytest.raises(OSError, match="broken data stream"), Image.open(io.BytesIO(found)) as image:
        image.load()
    return encoded


def test_damaged_data_is_found_and_whole_files_are_remembered(
    photos, jpeg, hollow, dali_cfg, monkeypatch
):
    assert not is_whole(hollow)
    assert is_whole(np.frombuffer(jpeg(1), dtype=np.uint8))
    data = build_pretrain(dali_cfg(photos(2)))
    feeder = Feeder(data.reader(data.opened), [], training=True, labelled=False)
    first = feeder.read([0, 1])
    monkeypatch.setattr(Image, "open", None)
    assert feeder.read([0, 1]).files[1].tobytes() == first.files[1].tobytes()


def test_dali_stops_where_pillow_would(photos, hollow, dali_cfg):
    folder = photos(4)
    victim = sorted(folder.rglob("*.jpg"))[1]
    victim.write_bytes(hollow.tobytes())
    cfg = dali_cfg(folder, 4)
    with pytest.raises(ImageError, match=victim.name):
        list(build_pretrain(cfg).train_dataloader())
    trusting = build_pretrain({**cfg, "dali": {"device": "cpu", "verify": False}})
    assert len(list(trusting.train_dataloader())) == 1

# SPDX-License-Identifier: MIT
from __future__ import annotations

import numpy as np
import pytest

from mixmask_solo.data.decoders.dali.jpeg import read_jpeg


def size(encoded):
    jpeg = read_jpeg(np.frombuffer(encoded, dtype=np.uint8))
    return jpeg and jpeg.size


@pytest.mark.parametrize(
    "how", [{}, {"progressive": True}, {"comment": b"x" * 500}, {"restart_marker_rows": 1}]
)
@pytest.mark.parametrize("mode", ["RGB", "L"])
def test_plain_files_tell_their_size(jpeg, how, mode):
    assert size(jpeg(0, mode, (60, 48), **how)) == (48, 60)
    assert size(jpeg(0, mode, **how) + b"\0" * 20) == (48, 60)


def test_what_pillow_has_to_decide(jpeg, photo):
    whole = jpeg(0)
    assert size(photo(0).convert("CMYK").tobytes()) is None
    assert size(jpeg(0, "CMYK")) is None
    for encoded in (b"", b"\xff", b"\xff\xd8", whole[:-200], whole[: len(whole) // 2], b"GIF89a"):
        assert size(encoded) is None


def test_colours_that_are_stored_as_rgb_are_left_to_pillow(jpeg):
    kept = jpeg(0, keep_rgb=True)
    assert size(kept) is None
    frame = kept.index(b"\xff\xee")
    assert size(kept[:frame] + kept[frame + 16 :]) is None  # told by its components' names alone
    usual = jpeg(0)
    for transform, found in ((1, (48, 60)), (0, None)):
        marker = b"\xff\xee\0\x0eAdobe\0\x64\0\0\0\0" + bytes([transform])
        assert size(usual[:20] + marker + usual[20:]) == found


def test_one_frame_from_beginning_to_end(jpeg):
    """Files spliced from two go to Pillow: DALI's decoder has crashed on some of them."""
    one, other = jpeg(0, size=(60, 48)), jpeg(1, size=(90, 70))
    scan = one.index(b"\xff\xda")
    assert size(one[: scan + 200] + other) is None  # a whole file inside the first one's data
    assert size(one[:-2] + other[2:]) is None
    assert size(one[:scan] + b"\xff\xd9") is None  # tables, no data
    assert size(one + other) is None
    assert size(one[:scan] + one[2:]) is None  # two frames before the data


def test_no_byte_string_is_too_odd(jpeg):
    whole = np.frombuffer(jpeg(0), dtype=np.uint8)
    rng = np.random.default_rng(0)
    for _ in range(2000):
        damaged = whole.copy()
        damaged[rng.integers(0, 700, 4)] = rng.integers(0, 256, 4)
        cut = damaged[: rng.integers(0, len(damaged))] if rng.random() < 0.3 else damaged
        found = read_jpeg(cut)
        assert found is None or min(found.size) > 0

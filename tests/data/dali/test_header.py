# SPDX-License-Identifier: MIT
from __future__ import annotations

import numpy as np
import pytest

from mixmask_solo.data.dali.header import jpeg_size


def size(encoded):
    return jpeg_size(np.frombuffer(encoded, dtype=np.uint8))


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


def test_no_byte_string_is_too_odd(jpeg):
    whole = np.frombuffer(jpeg(0), dtype=np.uint8)
    rng = np.random.default_rng(0)
    for _ in range(2000):
        damaged = whole.copy()
        damaged[rng.integers(0, 700, 4)] = rng.integers(0, 256, 4)
        cut = damaged[: rng.integers(0, len(damaged))] if rng.random() < 0.3 else damaged
        found = jpeg_size(cut)
        assert found is None or min(found) > 0

# SPDX-License-Identifier: MIT
"""Of a file without its compressed data Pillow says what it says of the file."""

from __future__ import annotations

import io

import numpy as np
import pytest
from PIL import Image

from mixmask_solo.data.decoders.dali.jpeg import is_whole, read_jpeg

KINDS = [
    {},
    {"progressive": True},
    {"restart_marker_rows": 1},
    {"restart_marker_blocks": 3},
    {"quality": 98, "subsampling": 0},
    {"mode": "L"},
    {"mode": "L", "progressive": True},
    {"size": (200, 160), "comment": b"x" * 300},
]


def pillow_decodes(data):
    try:
        with Image.open(io.BytesIO(data)) as image:
            image.load()
    except (OSError, SyntaxError, ValueError):
        return False
    return True


def judged(data):
    """Whether a file counts as whole; None where Pillow decodes it anyway."""
    jpeg = read_jpeg(np.frombuffer(data, dtype=np.uint8))
    return None if jpeg is None else is_whole(jpeg)


def marks(data):
    return [i for i in range(len(data) - 1) if data[i] == 0xFF and data[i + 1] not in (0, 0xFF)]


def flip(data, rng, other):
    for at in rng.integers(0, len(data), rng.integers(1, 10)):
        data[at] ^= 1 << rng.integers(8)


def change_a_header(data, rng, other):
    at = rng.choice(marks(data))
    for step in rng.integers(2, 30, 3):
        data[min(at + step, len(data) - 3)] = rng.integers(256)


def garble_the_data(data, rng, other):
    scan = data.index(b"\xff\xda") + 14
    first = rng.integers(scan, len(data) - 3)
    count = min(rng.integers(1, 500), len(data) - 2 - first)
    data[first : first + count] = rng.integers(0, 255, count, dtype=np.uint8).tobytes()


def shorten_the_data(data, rng, other):
    del data[rng.integers(data.index(b"\xff\xda") + 14, len(data) - 2) : -2]


def leave_out_a_part(data, rng, other):
    found = [*marks(data), len(data)]
    number = rng.integers(1, len(found) - 1)
    del data[found[number] : found[number + 1]]


def take_in_a_part(data, rng, other):
    found = marks(other)
    number = rng.integers(1, len(found) - 1)
    part = other[found[number] : found[min(number + rng.integers(1, 4), len(found) - 1)]]
    at = rng.choice(marks(data))
    data[at:at] = part


def add_a_damaged_table(data, rng, other):
    found = marks(other)
    tables = [number for number, at in enumerate(found) if other[at + 1] in (0xC4, 0xDB)]
    number = rng.choice(tables)
    part = bytearray(other[found[number] : found[number + 1]])
    part[4:10] = rng.integers(256, size=6, dtype=np.uint8).tobytes()
    data[-2:-2] = part


@pytest.mark.parametrize(
    ("damage", "least"),  # of each kind, not a few are plain and refused by Pillow
    [
        (flip, 3),
        (change_a_header, 20),
        (garble_the_data, 0),
        (shorten_the_data, 0),
        (leave_out_a_part, 20),
        (take_in_a_part, 20),
        (add_a_damaged_table, 20),
    ],
)
def test_damage_is_what_pillow_refuses(jpeg, damage, least):
    rng = np.random.default_rng(0)
    files = [jpeg(number, **kind) for number, kind in enumerate(KINDS)]
    plain = refused = 0
    for _ in range(60):
        for number, file in enumerate(files):
            data = bytearray(file)
            damage(data, rng, files[number - rng.integers(1, len(files))])
            whole = judged(bytes(data))
            if whole is not None:
                assert whole == pillow_decodes(bytes(data))
                plain, refused = plain + 1, refused + (not whole)
    assert plain > 100
    assert refused >= least


def test_what_follows_the_image_counts_however_long(jpeg):
    """Pillow reads 64 kB at a time, and looks no further than it has read for the image."""
    image, other = jpeg(0, size=(400, 300), quality=95), jpeg(1, progressive=True)
    padding = segment(0xFE, b"x" * (65_600 - len(image)))  # so that little of the image is left
    assert len(padding) > 2000
    filled = image[:2] + padding + image[2:-2]
    scans = other[other.rindex(b"\xff\xc4") :]
    data = filled + segment(0xFE, b"x" * 64_000) + scans
    assert not pillow_decodes(data)
    assert judged(data) is False


def segment(marker, content):
    return bytes([0xFF, marker]) + (len(content) + 2).to_bytes(2, "big") + content


@pytest.mark.parametrize("frame", [0xC0, 0xC2])
def test_data_that_adds_up_to_more_than_32_bits(frame):
    """65,792 blocks, each brighter than the one before by 32,767 (progressive: is refused)."""
    scan = bytes([1, 1, 0, 0, 0 if frame == 0xC2 else 63, 0])
    size = (8 * 256).to_bytes(2, "big") + (8 * 257).to_bytes(2, "big")
    data = segment(0xDB, bytes([0] + [1] * 64))
    data += segment(frame, b"\x08" + size + bytes([1, 1, 0x11, 0]))
    for table, symbol in ((0x00, 15), (0x10, 0)):  # the only code of each is one zero bit
        data += segment(0xC4, bytes([table, 1] + [0] * 15 + [symbol]))
    block = 0b0_111111111111111, 16  # baseline: and a zero bit, no more coefficients
    bits = "".join(f"{block[0]:016b}" + ("0" if frame == 0xC0 else "") for _ in range(256 * 257))
    packed = int(bits, 2).to_bytes(len(bits) // 8, "big").replace(b"\xff", b"\xff\0")
    data = b"\xff\xd8" + data + segment(0xDA, scan) + packed + b"\xff\xd9"
    assert judged(data) == pillow_decodes(data)
    if frame == 0xC0:
        assert judged(data)

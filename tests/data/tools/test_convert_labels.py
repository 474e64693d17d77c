# SPDX-License-Identifier: MIT
"""Labels and names of classes, whatever they are called, through every pair of storages."""

from __future__ import annotations

import tempfile
from pathlib import Path

import numpy as np
import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st
from PIL import Image

from mixmask_solo.config import ConfigError
from mixmask_solo.data.sources.base import Source
from mixmask_solo.data.tools import TARGETS, convert, open_path

NUMBERS = ["0", "1", "2", "10", "01", "-1", "-2", "1.0", "-1.0", "1e3", "٣", "inf"]
WORDS = [
    "",
    "nan",
    "NaN",
    "null",
    "None",
    "True",
    "False",
    "true",
    "train",
    "val",
    "a b",
    "#",
    "%-",
]
NAME = st.sampled_from(NUMBERS) | st.sampled_from(WORDS) | st.text(max_size=4)
ROWS = st.lists(st.integers(0, 4), min_size=1, max_size=6)


class Grey(Source):
    """One file an image, of its own grey level."""

    def load(self, index):
        return Image.new("L", (1, 1), index)

    def name(self, index):
        return f"{index}.pgm"

    def encoded(self, index):
        return np.frombuffer(b"P5 1 1 255 " + bytes([index]), np.uint8)


def through(source, place, way):
    """Classes, and the label of each grey level, after conversions one after the other."""
    for number, target in enumerate(way):
        convert({"train": source}, place / str(number), target)
        source = open_path(place / str(number))["train"]
    return source.classes, {int(source.encoded(i)[-1]): source.label(i) for i in range(len(source))}


@pytest.mark.parametrize("second", TARGETS)
@pytest.mark.parametrize("first", TARGETS)
@given(classes=st.lists(NAME, min_size=1, max_size=5, unique=True), rows=ROWS)
@example(classes=["1", "10", "2"], rows=[0, 1, 2])
@example(classes=["-1", "0", "1"], rows=[0, 1, 2, 2])
@example(classes=["nan", "b"], rows=[0, 1])
@example(classes=["1.0", "0"], rows=[0, 1])
@example(classes=["True", "False"], rows=[0, 1])
@example(classes=["", "a"], rows=[0, 1])
@settings(max_examples=8)
def test_any_class_names_survive(first, second, classes, rows):
    labels = [row % len(classes) for row in rows]
    with tempfile.TemporaryDirectory() as place:
        source = Grey(labels, classes)
        unlisted = any(not n or n != n.strip() or not n.isprintable() for n in classes)
        if "webdataset" in (first, second) and unlisted:
            with pytest.raises(ConfigError, match=r"cannot stand in classes\.txt"):
                through(source, Path(place), (first, second))
        else:
            found = through(source, Path(place), (first, second))
            assert found == (classes, dict(enumerate(labels)))

# SPDX-License-Identifier: MIT
"""Whatever a storage has an image stand for, its new path is its own, relative and seen by all."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from mixmask_solo.data.sources import Source
from mixmask_solo.data.sources.scan import hidden, is_image
from mixmask_solo.data.sources.splits import split_word
from mixmask_solo.data.tools.shards import Names


class Stored(Source):
    """Images of which only path, label and first bytes matter."""

    def __init__(
        self, paths: Sequence[str | None], labels: Any = (), classes: Any = (), head: bytes = b""
    ) -> None:
        super().__init__(labels or [-1] * len(paths), classes)
        self.paths, self.head = paths, head

    def path(self, index: int) -> str | None:
        return self.paths[index]

    def name(self, index: int) -> str:
        return str(index)

    def encoded(self, index: int) -> Any:
        return np.frombuffer(self.head, np.uint8)


def named(*paths: str | None, **more: Any) -> list[str]:
    names = Names(Stored(paths, **more))
    return [names.path(index) for index in range(len(paths))]


ODD = [
    *("", ".", "..", "/", "a", "a.png", "a.png/b.png", ".hidden", "00000001_a.png", "train", "val"),
    *("__MACOSX", "Thumbs.db", "x" * 300 + ".png", "é" * 120, "a\0b", "a\nb", "~", "\udcff.png"),
    *("00000000", "00000002_0_a.png", "test.jpg", "C:\\x.png", "%2F"),
]
part = st.sampled_from(ODD) | st.text(max_size=6)
path = st.none() | st.lists(part, min_size=1, max_size=4).map("/".join)


@given(st.lists(st.tuples(path, st.integers(-1, 2)), max_size=8), st.booleans())
@example([("a.png", 0), ("a.png/b.png", 0), ("a.png", 0), ("00000002_a.png", 0)], True)
@example([("a.png/x.png", -1), ("a.png", -1)], False)
@example([("a/b.png", -1), ("a", -1), ("a.jpg/x.png", -1), ("a.jpg", -1)], False)
def test_each_path_is_one_images_alone_and_leads_to_no_hidden_place(
    images: list[tuple[str | None, int]], labelled: bool
) -> None:
    classes = ["b", ".c", "a/b"] if labelled else []
    labels = [label if labelled else -1 for _, label in images]
    given_paths = [stored for stored, _ in images]
    found = named(*given_paths, labels=labels, classes=classes)
    assert len({*found}) == len(found)
    for stored, label in zip(found, labels, strict=True):
        parts = stored.split("/")
        assert not [p for p in parts if p in ("", ".", "..") or "\0" in p]
        assert is_image(parts[-1])  # or a reader of folders would pass it over
        assert not [p for p in parts[:-1] if hidden(p, folder=True)]
        assert all(len(p.encode("utf-8", "surrogateescape")) <= 255 for p in parts)
        assert (len(parts) > 1) or label < 0  # an image with a label lies in its class' folder
        assert not [other for other in found if other.startswith(f"{stored}/")]
    for label in {*labels} - {-1}:
        folders = {f.split("/")[0] for f, x in zip(found, labels, strict=True) if x == label}
        assert len(folders) == 1
    if not labelled:
        assert not any(split_word(p.split("/")[0]) for p in found if "/" in p)
    assert named(*given_paths, labels=labels, classes=classes) == found  # by number, not by chance


def test_usual_paths_stay_as_they_are() -> None:
    kept = ["a/1.png", "a/deep/2.JPEG", "b/3.webp"]
    assert named(*kept, labels=[0, 0, 1], classes=["a", "b"]) == kept
    assert named(*kept) == kept
    # a folder of the split goes, and one that is no class too
    assert named("train/a/1.png", "x/2.png", labels=[0, 0], classes=["a"]) == ["a/1.png", "a/2.png"]


def test_a_name_that_is_taken_gets_its_number() -> None:
    assert named("x.png", "x.png", "00000001_x.png") == [
        *("x.png", "00000001_x.png", "00000002_00000001_x.png"),
    ]
    assert named("x.png", "x.png/y.png") == ["x.png", "00000001_0_y.png"]


def test_asked_again_an_image_has_the_same_path() -> None:
    names = Names(Stored(["x.png", "x.png"]))
    assert [names.path(i) for i in (1, 0, 1, 0)] == [
        *("x.png", "00000000_x.png", "x.png", "00000000_x.png"),
    ]


@pytest.mark.parametrize(
    ("head", "suffix"),
    [
        (b"\x89PNG\r\n\x1a\n", ".png"),
        (b"GIF89a", ".gif"),
        (b"BM\0\0", ".bmp"),
        (b"RIFF\0\0\0\0WEBP", ".webp"),
        (b"II*\0", ".tif"),
        (b"MM\0*", ".tif"),
        (b"\0\0\0\x1cftypavif", ".avif"),
        (b"\0\0\0\x1cftypavis", ".avif"),
        (b"\xff\xd8\xff", ".jpg"),
        (b"", ".jpg"),
    ],
)
def test_an_image_without_a_suffix_gets_that_of_its_content(head: bytes, suffix: str) -> None:
    assert named(None, "a", "b.x", "c.PNG", head=head) == [
        *(f"00000000{suffix}", f"a{suffix}", f"b.x{suffix}", "c.PNG"),
    ]

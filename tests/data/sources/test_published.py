# SPDX-License-Identifier: MIT
"""The published lists of ImageNet's 1 % and 10 %, packed and read back."""

from __future__ import annotations

import os
import shutil
from collections import Counter
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from mixmask_solo.data.sources import published as module
from mixmask_solo.data.sources.published import PUBLISHED, digest, pack, published, unpack

ORIGINALS = Path(os.environ.get("MIXMASK_DATA", "absent")) / "imagenet-subsets"


@pytest.mark.parametrize(
    ("name", "images", "per_class"), [("1percent", 12_811, 12), ("10percent", 128_116, 128)]
)
def test_a_list_is_whole_and_even_over_the_classes(name: str, images: int, per_class: int) -> None:
    names = published(name)
    assert len(names) == len(set(names)) == images
    assert digest(names) == PUBLISHED[name].sha256
    counts = Counter(one.partition("_")[0] for one in names)
    assert len(counts) == 1000
    assert {*counts.values()} <= {per_class, per_class + 1}
    assert names[0] == "n01440764_36.JPEG"


def test_one_percent_is_part_of_ten() -> None:
    assert {*published("1percent")} < {*published("10percent")}


@pytest.mark.parametrize("name", PUBLISHED)
def test_it_is_what_simclr_published(name: str) -> None:
    file = ORIGINALS / f"{name}.txt"
    if not file.is_file():
        pytest.skip("the lists as published are not here")
    assert sorted(file.read_text().split()) == sorted(published(name))


def test_a_damaged_list_is_told(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    folder = tmp_path / "simclr"
    shutil.copytree(module._FOLDER, folder)
    (folder / "1percent.xz").write_bytes(pack(published("1percent")[1:]))
    monkeypatch.setattr(module, "_FOLDER", folder)
    with pytest.raises(ValueError, match=r"1percent\.xz is damaged: install the package anew"):
        published("1percent")


@settings(max_examples=15)  # the compressor's strongest setting is slow to start
@given(st.sets(st.tuples(st.integers(0, 99_999_999), st.integers(0, 200_000)), min_size=1))
def test_packing_keeps_every_name(images: set[tuple[int, int]]) -> None:
    names = [f"n{wnid:08d}_{number}.JPEG" for wnid, number in sorted(images)]
    assert unpack(pack(reversed(names))) == names

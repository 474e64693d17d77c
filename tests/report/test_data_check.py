# SPDX-License-Identifier: MIT
"""The words for what a check of a data set has found."""

from __future__ import annotations

from typing import Any

from mixmask_solo.data.tolerance import Damaged
from mixmask_solo.data.tools import Report
from mixmask_solo.data.tools.check import SplitReport
from mixmask_solo.report.data import check_text


def split(images: int, **found: Any) -> SplitReport:
    usual: dict[str, Any] = {
        **{"damaged": [], "classes": 0, "class_sizes": None, "empty_classes": [], "odd": {}},
        **{"widths": (8, 8, 8), "heights": (8, 8, 8), "repeated": 0, "passed_over": {}},
        **{"modes": {"RGB": images}, "formats": {"PNG": images}},
    }
    return SplitReport(images=images, **(usual | found))


def test_a_data_set_with_nothing_to_remark_on() -> None:
    train = split(1442, classes=2, class_sizes=(721, 721, 721))
    report = Report({"train": train, "val": split(3)}, [])
    assert check_text("images", report).splitlines() == [
        "images",
        "  train: 1,442 images of 2 classes, 721 each",
        "    width 8, height 8 pixels",
        "    PNG 1,442; RGB 1,442",
        "  val: 3 images without labels",
        "    width 8, height 8 pixels",
        "    PNG 3; RGB 3",
        "  all 1,445 images can be read",
    ]


def test_everything_there_is_to_remark_on() -> None:
    train = split(
        5000,
        damaged=[Damaged("a/1.png", "cannot be decoded: torn")],
        classes=1200,
        class_sizes=(0, 4, 1100),
        empty_classes=["x", "y"],
        widths=(4, 300, 4000),
        odd={"alpha": (3, ["1", "2", "3"]), "thin": (1200, ["4", "5", "6", "7"])},
        formats={"JPEG": 4000, "PNG": 1000},
        repeated=1001,
        passed_over={".txt": 2000, "hidden files": 1},
    )
    shared = [(f"v{i}", f"t{i}") for i in range(1234)]
    assert check_text("images", Report({"train": train}, shared)).splitlines() == [
        "images",
        "  train: 5,000 images of 1,200 classes, 0 to 1,100 each, median 4",
        "    width 4 to 4,000 (median 300), height 8 pixels",
        "    JPEG 4,000, PNG 1,000; RGB 5,000",
        "    warning: class folders without images: x, y",
        "    note: 1,001 images repeat another one's bytes",
        "    note: files passed over: .txt 2,000, hidden files 1",
        "    odd: alpha: 3 (1, 2, 3)",
        "    odd: thin: 1,200 (4, 5, 6, ...)",
        "    damaged: a/1.png: cannot be decoded: torn",
        "  warning: 1,234 val images are also in train: v0 = t0; v1 = t1; v2 = t2; ...",
        "  1 of 5,000 images cannot be read",
    ]


def test_a_long_list_of_damaged_images_says_where_the_rest_is() -> None:
    for count in (50, 51, 1050):
        damaged = [Damaged(str(i), "torn") for i in range(count)]
        text = check_text("x", Report({"train": split(2000, damaged=damaged)}, []))
        lines = [line for line in text.splitlines() if "damaged:" in line]
        listed = [f"    damaged: {i}: torn" for i in range(50)]
        rest = f"    damaged: and {count - 50:,} more (--json lists all)"
        assert lines == listed + [rest] * (count > 50)
        assert text.endswith(f"  {count:,} of 2,000 images cannot be read")


def test_a_split_none_of_which_can_be_read_has_no_sizes() -> None:
    damaged = [Damaged("a", "torn")]
    found = split(1, damaged=damaged, widths=None, heights=None, formats={}, modes={})
    lines = check_text("x", Report({"train": found}, [("a", "b")])).splitlines()
    assert not [line for line in lines if "width" in line]
    assert "    none; none" in lines
    assert "  warning: 1 val images are also in train: a = b" in lines

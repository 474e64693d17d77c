# SPDX-License-Identifier: MIT
"""The site's file of docs/tables.md fits the tables that it is for."""

from __future__ import annotations

import sys
from pathlib import Path

import pytest

from mixmask_solo.cli import tables

from .blocks import blocks


@pytest.mark.parametrize(
    ("words", "paths"),
    [
        (["table5", "--rows", "MixMask", "--columns", "C-100 MoCo"], ["/data/cifar"]),
        (["table4", "--rows", "MixMask"], ["/data/imagenet/train", "/data/imagenet/val"]),
        (
            ["detection", "--rows", "MixMask", "--columns", "VOC07 AP", "--columns", "COCO box AP"],
            ["/data/VOC2007", "/data/coco/val2017"],
        ),
        (["saliency", "--rows", "nothing", "--columns", "MoCo Caltech"], ["/data/torchvision"]),
    ],
)
def test_the_sites_file(
    words: list[str],
    paths: list[str],
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    [site] = [b.text for b in blocks("yaml", pages=("docs/tables.md",)) if "all: [" in b.text]
    (tmp_path / "site.yaml").write_text(site)
    line = ["mixmask-tables", "plan", *words, "--site", str(tmp_path / "site.yaml"), "--commands"]
    monkeypatch.setattr(sys, "argv", line)
    with pytest.raises(SystemExit) as stop:
        tables.main()
    assert stop.value.code == 0
    told = capsys.readouterr()
    assert "left out" not in told.out + told.err
    assert all(path in told.out for path in paths)

# SPDX-License-Identifier: MIT
"""A text file that lists images and labels, one a line.

``path label`` (the label is the last word, so that paths may hold blanks), the same with a tab
(``.tsv``), or ``.csv`` with a header line whose columns are found by name. Paths are relative to
``data.root``, else to the list's folder. Labels are numbers from 0, or names, which are numbered
in their sorted order; an empty cell is no label.
"""

import csv
from collections.abc import Sequence
from pathlib import Path

from mixmask_solo.config import listing
from mixmask_solo.data.sources.base import Request
from mixmask_solo.data.sources.columns import IMAGE, LABEL, choose
from mixmask_solo.data.sources.folder import FolderSource
from mixmask_solo.data.sources.label_values import numbered

LIST_SUFFIXES = (".txt", ".tsv", ".csv", ".lst")
_FILE = ("path", "file", "filename", "file_name", "filepath", "file_path")
_PATH = (*_FILE, *IMAGE, "image_path", "img_path")

Row = tuple[int, str, str]  # line, path, label


def read_file_list(request: Request) -> FolderSource:
    """The images of one split."""
    place = Path(request.path or "").expanduser()
    if not place.is_file():
        raise request.wrong("no such file; give a text file that lists images")
    text = place.read_text(encoding="utf-8-sig", errors="surrogateescape")
    columns: list[str] = []
    if place.suffix.lower() == ".csv":
        columns, rows = _table(text, request)
    elif request.image_column or request.label_column:
        raise request.wrong(
            "only a .csv list has columns: leave data.image_column and data.label_column out"
        )
    else:
        rows = _lines(text, request)
    if not rows:
        raise request.wrong("no image in the list")
    lines, paths, texts = zip(*rows, strict=True)
    labels, classes = numbered(texts, lambda row: str(request.wrong(f"line {lines[row]}")), request)
    root = place.parent if request.root is None else Path(str(request.root)).expanduser()
    if not (root / paths[0]).is_file():
        raise request.wrong(f"line {lines[0]} names {root / paths[0]}, which is not there")
    source = FolderSource(root, paths, labels, classes)
    source.columns = tuple(columns)
    return source


def _lines(content: str, request: Request) -> list[Row]:
    rows = []
    # not splitlines: a path may hold one of the rarer line separators
    for number, line in enumerate(content.split("\n"), start=1):
        line = line.rstrip("\r")
        if not line.strip():
            continue
        tab = "\t" if "\t" in line else None
        text = line if tab else line.strip()  # a cell between tabs may be empty
        if request.no_labels:
            path, label = text.split(tab)[0] if tab else text, ""
        elif len(parts := text.rsplit(tab, 1)) == 2:
            path, label = parts
        else:
            raise request.wrong(
                f"line {number} holds no label: write a path, a blank, a label (-1 for none)"
            )
        rows.append((number, path.strip(), label.strip()))
    return rows


def _table(text: str, request: Request) -> tuple[list[str], list[Row]]:
    reader = csv.reader(text.splitlines())
    header = [name.strip() for name in next(reader, [])]
    path = _column(header, _PATH, "image", request)
    label = None if request.no_labels else _column(header, LABEL, "label", request)
    rows = []
    for cells in filter(None, reader):
        if len(cells) != len(header):
            raise request.wrong(f"line {reader.line_num} has {len(cells)} of {len(header)} columns")
        name = "" if label is None else cells[label].strip()
        rows.append((reader.line_num, cells[path], name))
    return header, rows


def _column(header: list[str], usual: Sequence[str], what: str, request: Request) -> int:
    """The place of the column that ``data`` names, else of the first that is called as usual."""
    kinds = dict.fromkeys(header, "text")
    name = choose(what, request, request.path, kinds, usual, header)
    if name is None:
        none = ", or set data.no_labels=true" if what == "label" else ""
        raise request.wrong(
            f"its header line has no column {listing(usual)}, but columns "
            f"{listing(header, 'and')}: say which with data.{what}_column{none}"
        )
    if header.count(name) > 1:
        raise request.wrong(f"its header line has {header.count(name)} columns {name!r}")
    return header.index(name)

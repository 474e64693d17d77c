# SPDX-License-Identifier: MIT
"""A text file that lists images and labels, one a line.

``path label`` (the label is the last word, so that paths may hold blanks), the same with a tab
(``.tsv``), or ``.csv`` with a header line whose columns are found by name. Paths are relative to
``data.root``, else to the list's folder. Labels are numbers from 0, or names, which are numbered
in their sorted order.
"""

from __future__ import annotations

import csv
from collections.abc import Sequence
from pathlib import Path

import numpy as np

from mixmask_solo.config.nearest import listing
from mixmask_solo.data.sources.class_names import complete
from mixmask_solo.data.sources.folder import FolderSource
from mixmask_solo.data.sources.request import Request

__all__ = ["LIST_SUFFIXES", "read_file_list"]

LIST_SUFFIXES = (".txt", ".tsv", ".csv", ".lst")
_PATH = ("path", "file", "filename", "file_name", "image")
_LABEL = ("label", "class", "target", "labels")

Row = tuple[int, str, str]


def read_file_list(request: Request) -> FolderSource:
    """The images of one split.

    Raises:
        ConfigError: for a list that is missing, empty or not understood, naming the line.
    """
    if request.path is None:
        raise request.wrong("give a text file that lists images")
    place = Path(request.path).expanduser()
    if not place.is_file():
        raise request.wrong("no such file; give a text file that lists images")
    try:
        text = place.read_text(encoding="utf-8-sig", errors="surrogateescape")
    except OSError as error:
        raise request.wrong(f"it cannot be read: {error.strerror}") from None
    rows = _table(text, request) if place.suffix.lower() == ".csv" else _lines(text, request)
    if not rows:
        raise request.wrong("no image in the list")
    classes, labels = _labels(rows, request)
    root = place.parent if request.root is None else Path(request.root).expanduser()
    paths = [path for _, path, _ in rows]
    if not (root / paths[0]).is_file():
        raise request.wrong(f"line {rows[0][0]} names {root / paths[0]}, which is not there")
    return FolderSource(root, paths, labels, classes)


def _lines(text: str, request: Request) -> list[Row]:
    rows = []
    # not splitlines: a path may hold one of the rarer line separators
    for number, line in enumerate(text.split("\n"), start=1):
        line = line.rstrip("\r")
        if not line.strip():
            continue
        tab = "\t" if "\t" in line else None
        parts = [line.strip()] if request.no_labels else line.strip().rsplit(tab, 1)
        if request.no_labels and tab:
            parts = [line.split("\t")[0]]
        if len(parts) != (1 if request.no_labels else 2):
            raise request.wrong(f"line {number} holds no label: write a path, a blank, a label")
        rows.append((number, parts[0].strip(), "" if request.no_labels else parts[1].strip()))
    return rows


def _table(text: str, request: Request) -> list[Row]:
    reader = csv.reader(text.splitlines())
    header = [name.strip().lower() for name in next(reader, [])]
    path = _column(header, _PATH, request)
    label = None if request.no_labels else _column(header, _LABEL, request)
    rows = []
    for cells in reader:
        if not cells:
            continue
        if len(cells) != len(header):
            raise request.wrong(f"line {reader.line_num} has {len(cells)} of {len(header)} columns")
        name = "" if label is None else cells[label].strip()
        rows.append((reader.line_num, cells[path], name))
    return rows


def _column(header: Sequence[str], known: Sequence[str], request: Request) -> int:
    found = next((header.index(name) for name in known if name in header), None)
    if found is None:
        raise request.wrong(f"its header line has no column {listing(known)}")
    return found


def _labels(rows: Sequence[Row], request: Request) -> tuple[list[str], list[int]]:
    """Names of the classes, and a number for each row."""
    if request.no_labels:
        return [], [-1] * len(rows)
    if all(text.isdecimal() for _, _, text in rows):
        labels = [int(text) for _, _, text in rows]
        return complete(list(request.classes or []), np.array(labels), request), labels
    classes = list(request.classes or sorted({text for _, _, text in rows}))
    number = {name: label for label, name in enumerate(classes)}
    for line, _, text in rows:
        if text.lstrip("-").isdecimal() or text not in number:
            raise request.wrong(
                f"line {line} has label {text!r}: give numbers from 0 everywhere, or names of "
                f"classes that the training images have"
            )
    return classes, [number[text] for _, _, text in rows]

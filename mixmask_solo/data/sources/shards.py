# SPDX-License-Identifier: MIT
"""Which Parquet files or tar shards make up a split, and how many of them are open."""

import glob
import os
import re
from collections.abc import Callable, Iterable, Sequence
from fnmatch import fnmatch
from functools import cached_property, lru_cache
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from mixmask_solo.data.sources.base import Request, file_stamp
from mixmask_solo.data.sources.scan import hidden
from mixmask_solo.data.sources.splits import split_words, stem

_NUMBERED = re.compile(r"(?P<name>.*-)(?P<number>\d+)-of-(?P<count>\d+)(?P<end>.*)")
_BRACES = re.compile(r"\{([^{}]*)\}")  # the innermost
_RANGE = re.compile(r"(\d+)\.\.(\d+)")
_MOST = 64  # a process may often have no more than 1,024 files open, sockets included


def find_shards(
    request: Request, suffix: str = ".parquet", title: str = "Parquet file"
) -> list[Path]:
    """The files of one split, sorted.

    A path may be a file, a glob, a list in braces such as ``{000..009}.tar``, or a folder that may
    keep its files in ``data/`` or in a folder named after the split. In a folder files without a
    split's word in their names belong to any. Of shards called ``…-00000-of-00005`` none that is
    asked for may be missing.
    """
    if request.path is None:
        raise request.wrong(f"give a {title}, a folder of them or a pattern such as 'a-*'")
    given = Path(request.path).expanduser()
    if given.is_file():
        return [given]
    folder = given.is_dir()
    found = _in_folder(given, request, suffix) if folder else _matching(str(given), request)
    if not found:
        raise request.wrong(f"no {title} of the {request.split} split there")
    _require_all(found, "*" if folder else given.name, request)
    return found


def expand(pattern: str) -> list[str]:
    """All names of ``shard-{000..009}.tar`` or ``{a,b}.tar``, in order, as a shell reads them."""
    found = _BRACES.search(pattern)
    if found is None:
        return [pattern]
    before, after = pattern[: found.start()], pattern[found.end() :]
    return [name for item in _items(found[1]) for name in expand(before + item + after)]


def files_in(folder: Path, suffix: str) -> list[Path]:
    """Files of a suffix, neither hidden nor pipes, sorted."""
    found = sorted(folder.glob(f"[!.]*{suffix}"))
    return [file for file in found if file.is_file()]


class Handles:
    """Open files by number, those used last: there may be more than a process may have open.

    The process that reads opens them, so that the object can be pickled or forked. Threads may read
    at once; each keeps the file that it reads from, lest another has it closed.
    """

    def __init__(self, files: Sequence[str], open_file: Callable[[str], Any]) -> None:
        self.files, self.open_file, self._owner = files, open_file, -1

    def __getitem__(self, number: int) -> Any:
        if self._owner != os.getpid():
            self._opened = lru_cache(maxsize=_MOST)(self.open_file)
            self._owner = os.getpid()
        return self._opened(self.files[number])

    @cached_property
    def stamps(self) -> NDArray[np.int64]:
        """Of each file its stamp."""
        return np.array([file_stamp(file) for file in self.files], dtype=np.int64)

    def __reduce__(self) -> "tuple[type[Handles], tuple[Any, ...]]":
        return Handles, (self.files, self.open_file)


def _items(inner: str) -> list[str]:
    numbers = _RANGE.fullmatch(inner)
    if numbers is None:
        return inner.split(",")
    first, last = numbers.groups()
    step = 1 if int(first) <= int(last) else -1
    width = max(len(first), len(last)) if first.startswith("0") or last.startswith("0") else 0
    return [str(n).zfill(width) for n in range(int(first), int(last) + step, step)]


def _require_all(files: Sequence[Path], pattern: str, request: Request) -> None:
    """Refuses a set of numbered shards that lacks one, and two sets of one name."""
    sets: dict[tuple[Path, str], dict[int, re.Match[str]]] = {}
    for file in files:
        match = _NUMBERED.fullmatch(file.name)
        if match is None:
            continue
        there = sets.setdefault((file.parent, match["name"]), {})
        other = next(iter(there.values()), match)
        if int(other["count"]) != int(match["count"]):
            raise request.wrong(f"{other[0]} and {match[0]} belong to two sets: name one of them")
        there[int(match["number"])] = match
    for (folder, name), there in sets.items():
        some = next(iter(there.values()))
        ends = {match["end"] for match in there.values()}  # of its own, where it is a digest
        end = ends.pop() if len(ends) == 1 else "*"
        count = int(some["count"])
        first = 1 if count in there and 0 not in there else 0
        for number in range(first, first + count):
            shard = f"{name}{number:0{len(some['number'])}d}-of-{some['count']}{end}"
            absent = number not in there and not (folder / shard).is_file()
            if absent and fnmatch(shard, pattern):
                raise request.wrong(f"{folder / shard} is not there: fetch it again")


def _matching(pattern: str, request: Request) -> list[Path]:
    """Files of a pattern; each name that a list in braces spells out has to be there."""
    found: list[Path] = []
    for name in expand(pattern):
        matches = sorted(Path(p) for p in glob.glob(name, recursive=True) if Path(p).is_file())
        if not matches and name != pattern:
            raise request.wrong(f"{name} is not there")
        found += matches
    return found


def _in_folder(folder: Path, request: Request, suffix: str) -> list[Path]:
    for place in (folder, folder / "data"):
        files = files_in(place, suffix)
        found = _of_split(files, request)
        found = found or [file for file in files if not split_words(file.name)]
        if found:
            return found
    below = (place for place in sorted(folder.glob("*/")) if not hidden(place.name, folder=True))
    places = _of_split((place for place in below if files_in(place, suffix)), request)
    return files_in(places[0], suffix) if places else []


def _of_split(places: Iterable[Path], request: Request) -> list[Path]:
    """Those named after the split: val before test, which on the hub often has no labels."""
    named = [(place, words) for place in places if (words := split_words(place.name))]
    unclear = next((place for place, words in named if len(words) > 1), None)
    if unclear is not None:
        raise request.wrong(
            f"'{unclear.name}' in it names several splits: give a pattern that fits this one alone"
        )
    for split in request.words:
        found = [place for place, words in named if words == [split]]
        other = next((place for place in found if stem(place.name) != stem(found[0].name)), None)
        if other is not None:
            raise request.wrong(
                f"'{found[0].name}' and '{other.name}' in it may both be its {split} split: give a "
                "pattern that fits one of them alone"
            )
        if found:
            return found
    return []

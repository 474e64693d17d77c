# SPDX-License-Identifier: MIT
"""Which Parquet files or tar shards make up a split."""

from __future__ import annotations

import glob
from pathlib import Path

from mixmask_solo.data.sources.braces import expand
from mixmask_solo.data.sources.request import Request

__all__ = ["find_shards"]

# The first prefix that any file has decides: Hugging Face's test splits often have no labels.
_PREFIXES = {"train": ("train",), "val": ("val", "test")}


def find_shards(
    request: Request, suffix: str = ".parquet", title: str = "Parquet file"
) -> list[Path]:
    """The files of one split, sorted.

    A path may be a file, a glob, a list in braces such as ``{000..009}.tar``, or a folder; a
    folder may keep its files in ``data/`` or in a folder named after the split. In a folder, files
    named ``train*``, ``val*`` and ``test*`` are told apart; files without such a name belong to
    any split.

    Args:
        request: the question.
        suffix: what the files' names end in.
        title: what messages call one of them.

    Raises:
        ConfigError: when there is nothing where the user said.
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
    return found


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
    prefixes = _PREFIXES["train" if request.training else "val"]
    for place in (folder, folder / "data"):
        files = sorted(place.glob(f"*{suffix}"))
        for prefix in prefixes:
            named = [file for file in files if file.name.startswith(prefix)]
            if named:
                return named
        others = [file for file in files if not file.name.startswith(("train", "val", "test"))]
        if others:
            return others
    named_folders = [d for prefix in prefixes for d in sorted(folder.glob(f"{prefix}*/"))]
    return next((files for d in named_folders if (files := sorted(d.glob(f"*{suffix}")))), [])

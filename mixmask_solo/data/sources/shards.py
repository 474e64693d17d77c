# SPDX-License-Identifier: MIT
"""Which Parquet files make up a split."""

from __future__ import annotations

import glob
from pathlib import Path

from mixmask_solo.data.sources.request import Request

__all__ = ["find_shards"]

# The first prefix that any file has decides: Hugging Face's test splits often have no labels.
_PREFIXES = {"train": ("train",), "val": ("val", "test")}


def find_shards(request: Request) -> list[Path]:
    """The files of one split, sorted.

    A path may be a file, a glob, or a folder; a folder may keep its files in ``data/`` or in a
    folder named after the split. In a folder, files named ``train*``, ``val*`` and ``test*`` are
    told apart; files without such a name belong to any split.

    Raises:
        ConfigError: when there is nothing where the user said.
    """
    if request.path is None:
        raise request.wrong("give a Parquet file, a folder of them or a pattern such as 'a-*'")
    given = Path(request.path).expanduser()
    if given.is_file():
        return [given]
    if given.is_dir():
        found = _in_folder(given, request)
    else:
        found = sorted(Path(p) for p in glob.glob(str(given), recursive=True) if Path(p).is_file())
    if not found:
        raise request.wrong(f"no Parquet file of the {request.split} split there")
    return found


def _in_folder(folder: Path, request: Request) -> list[Path]:
    prefixes = _PREFIXES["train" if request.training else "val"]
    for place in (folder, folder / "data"):
        files = sorted(place.glob("*.parquet"))
        for prefix in prefixes:
            named = [file for file in files if file.name.startswith(prefix)]
            if named:
                return named
        others = [file for file in files if not file.name.startswith(("train", "val", "test"))]
        if others:
            return others
    named_folders = [d for prefix in prefixes for d in sorted(folder.glob(f"{prefix}*/"))]
    return next((files for d in named_folders if (files := sorted(d.glob("*.parquet")))), [])

# SPDX-License-Identifier: MIT
"""The words by which splits go in the names of folders and files."""

from __future__ import annotations

import re

__all__ = ["is_split", "split_word"]

_WORDS = {
    **dict.fromkeys(("train", "training", "trainset", "trainval"), "train"),
    **dict.fromkeys(("val", "valid", "validation", "valset", "dev"), "val"),
    **dict.fromkeys(("test", "testing", "testset", "eval", "evaluation"), "test"),
}


def split_word(name: str) -> str | None:
    """``train``, ``val`` or ``test``, of which a whole word of a name speaks, in any case."""
    words = map(str.lower, re.findall("[A-Z]?[a-z]+|[A-Z]+", name))
    return next((_WORDS[word] for word in words if word in _WORDS), None)


def is_split(name: str) -> bool:
    """Whether such a word is the whole name."""
    return name.lower() in _WORDS

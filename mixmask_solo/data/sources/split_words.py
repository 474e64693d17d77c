# SPDX-License-Identifier: MIT
"""The words by which splits go in the names of folders, shards and folders of shards."""

from __future__ import annotations

import re

__all__ = ["is_split", "split_word", "split_words", "stem"]

_WORDS = {
    **dict.fromkeys(("train", "training", "trainset", "trainval"), "train"),
    **dict.fromkeys(("val", "valid", "validation", "valset", "dev"), "val"),
    **dict.fromkeys(("test", "testing", "testset", "eval", "evaluation"), "test"),
}
_WORD = re.compile(r"[A-Z]?[a-z]+|[A-Z]+")  # imagenet_train-0, cifar10Train, TEST.tar


def split_words(name: str) -> set[str]:
    """Of ``train``, ``val`` and ``test`` those that whole words of a name stand for, any case."""
    return set(_found(name))


def split_word(name: str) -> str | None:
    """The first of them."""
    return next(iter(_found(name)), None)


def is_split(name: str) -> bool:
    """Whether such a word is the whole name."""
    return name.lower() in _WORDS


def stem(name: str) -> str:
    """What the shards of one set have in common: a name up to the number behind the split's word.

    Numbers before that word count by their length alone.
    """
    last = max((w.end() for w in _WORD.finditer(name) if w[0].lower() in _WORDS), default=0)
    head = re.sub(r"\d", "0", name[:last])
    return (head + re.split(r"\d", name[last:], maxsplit=1)[0]).lower()


def _found(name: str) -> list[str]:
    words = (word.lower() for word in _WORD.findall(name))
    return [_WORDS[word] for word in words if word in _WORDS]

# SPDX-License-Identifier: MIT
"""Checkpoints of other code, which hold more than tensors: read without running any of it."""

from __future__ import annotations

import re
import tarfile
import warnings
from pathlib import Path
from typing import Any

import torch

from mixmask_solo.config import ConfigError
from mixmask_solo.records import inert_pickle

__all__ = ["read_foreign", "refuse_archives", "unreadable"]

# How PyTorch's releases say which class their safe reading refuses.
_REFUSED = re.compile(r"(?:GLOBAL|Unsupported class) ([\w.]+)")


def read_foreign(path: Path) -> Any:
    """What a file holds, ``Inert`` in the place of everything that is no tensor or plain value.

    Args:
        path: of a file that ``torch.load(weights_only=True)`` refuses; zipped, or PyTorch's format
            before 1.6.

    Raises:
        ConfigError: for a file that is damaged or no checkpoint.
    """
    refuse_archives(path)
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            # latin1 can decode every byte string of Python 2; it matters to nothing else.
            return torch.load(
                path,
                map_location="cpu",
                pickle_module=inert_pickle,
                weights_only=False,
                encoding="latin1",
            )
    except Exception as error:  # torn files fail in many ways, all meaning the same
        raise unreadable(path, error) from error


def unreadable(path: Path, error: Exception) -> ConfigError:
    """The error line for a file that cannot be read.

    Args:
        path: of the file.
        error: of ``torch.load``, which may name the class that blocks.
    """
    blocking = _REFUSED.search(str(error))
    if blocking:
        return ConfigError(
            f"checkpoint '{path}' cannot be read: it holds a {blocking[1]}, which only code named "
            "in the file could restore; use one of tensors and plain values"
        )
    return ConfigError(
        f"checkpoint '{path}' cannot be read ({type(error).__name__}): it is damaged or no "
        "PyTorch checkpoint; use another one"
    )


def refuse_archives(path: Path) -> None:
    """Refuses what ``torch.load`` would hand to loaders that no pickle module binds.

    Raises:
        ConfigError: for TorchScript and tar archives.
    """
    try:
        records = torch._C.PyTorchFileReader(str(path)).get_all_records()
    except RuntimeError:  # not zipped
        records = []
    try:
        is_tar = not records and tarfile.is_tarfile(path)
    except OSError as error:
        raise unreadable(path, error) from error
    if is_tar:
        raise ConfigError(
            f"checkpoint '{path}' cannot be read: it is a tar archive, PyTorch's format before "
            "0.1.10; save it again with a newer one"
        )
    if "constants.pkl" in records:
        raise ConfigError(
            f"checkpoint '{path}' cannot be read: it is a TorchScript archive, code and all; save "
            "its model.state_dict() and give that file"
        )

# SPDX-License-Identifier: MIT
"""NVIDIA DALI, imported where it is first needed: it is large, and an optional extra."""

from __future__ import annotations

import importlib
from types import ModuleType
from typing import NamedTuple

from mixmask_solo.config import ConfigError

__all__ = ["Library", "library"]


class Library(NamedTuple):
    """The parts of DALI that are used here."""

    fn: ModuleType
    types: ModuleType
    pipeline: ModuleType


def library() -> Library:
    """DALI's modules.

    Raises:
        ConfigError: where it is not installed, or cannot be loaded.
    """
    try:
        return Library(
            importlib.import_module("nvidia.dali.fn"),
            importlib.import_module("nvidia.dali.types"),
            importlib.import_module("nvidia.dali.pipeline"),
        )
    except (ImportError, OSError) as error:
        raise ConfigError(
            f"data.format is 'dali', but NVIDIA DALI cannot be imported ({error}): "
            "pip install 'mixmask_solo[dali]', or choose another data.format"
        ) from None

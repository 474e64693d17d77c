# SPDX-License-Identifier: MIT
"""BYOL, MoCo v2+, SimCLR and SimSiam with strategies, on either host."""

from __future__ import annotations

from importlib import import_module
from typing import Any

from mixmask_solo.host import load

__all__ = ["get_methods"]


def get_methods(host: str = "auto") -> dict[str, type[Any]]:
    """Method classes by name.

    Args:
        host: ``solo``, ``builtin``, or ``auto`` (solo-learn where a usable one is importable).
    """
    methods: dict[str, type[Any]] = import_module(f"{__name__}.{load(host).name}").METHODS
    return methods

# SPDX-License-Identifier: MIT
"""Methods with strategies: the built-in host's on either host, further ones on solo-learn."""

from __future__ import annotations

from importlib import import_module
from typing import Any

from mixmask_solo.host import load

__all__ = ["get_method", "get_methods"]


def get_methods(host: str = "auto") -> dict[str, type[Any]]:
    """Method classes by name.

    Args:
        host: ``solo``, ``builtin``, or ``auto`` (solo-learn where a usable one is importable).
    """
    methods: dict[str, type[Any]] = import_module(f"{__name__}.{load(host).name}").METHODS
    return methods


def get_method(name: str, host: str = "auto") -> type[Any]:
    """One method's class.

    Args:
        name: as in ``method``.
        host: ``solo``, ``builtin`` or ``auto``.

    Raises:
        ImportError: for ``solo`` without a usable solo-learn.
        ValueError: for a method that only solo-learn has where it is not the host.
    """
    if name in get_methods("builtin"):
        return get_methods(host)[name]
    needs = f"method {name} needs solo-learn: pip install 'mixmask_solo[solo]'"
    if host == "builtin":
        raise ValueError(f"{needs} and set host to solo (it is builtin)")
    try:
        return get_methods("solo")[name]
    except ImportError as error:
        raise ValueError(f"{needs} ({error.__cause__ or error})") from error

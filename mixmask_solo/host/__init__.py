# SPDX-License-Identifier: MIT
"""Who runs the methods: solo-learn where a usable one is installed, else the built-in host.

Importing this loads neither; :func:`load` does.
"""

import logging
from dataclasses import dataclass
from functools import cache
from importlib import import_module
from importlib.util import find_spec
from types import ModuleType
from typing import Any

__all__ = ["HOSTS", "Host", "load", "optimization"]

HOSTS = ("auto", "solo", "builtin")
log = logging.getLogger(__name__)


@dataclass(frozen=True)
class Host:
    """A host's classes."""

    name: str  # ``solo`` or ``builtin``
    methods: dict[str, type[Any]]  # by solo-learn's names
    base: type[Any]  # parent of all methods
    base_momentum: type[Any]  # of those with a momentum network
    linear: type[Any]  # the probe
    extras: tuple[type[Any], ...] = ()  # put before every method built on this host


@cache
def load(name: str = "auto") -> Host:
    """The host called ``name``.

    ``auto`` is solo-learn if it is importable and recent enough (its methods take a ``cfg``; PyPI's
    1.0.2 do not), else the built-in one.

    Raises:
        ValueError: for another name.
        ImportError: for ``solo`` without a usable solo-learn; says why and what to install.
    """
    if name not in HOSTS:
        raise ValueError(f"host is {name!r}: choose one of {', '.join(HOSTS)}")
    if name == "builtin" or (name == "auto" and find_spec("solo") is None):
        return _builtin()
    try:
        host: Host = import_module("mixmask_solo.host.solo").HOST
    except ImportError as error:
        if name == "solo":
            raise
        log.warning("%s; taking the built-in host", error)
        return _builtin()
    return host


def optimization() -> ModuleType:
    """Optimisers and schedules, which serve the methods of either host."""
    return import_module("mixmask_solo.host.builtin.optimization")


def _builtin() -> Host:
    b = import_module("mixmask_solo.host.builtin")
    return Host("builtin", b.METHODS, b.BaseMethod, b.BaseMomentumMethod, b.LinearModel)

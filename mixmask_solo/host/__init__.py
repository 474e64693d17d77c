# SPDX-License-Identifier: MIT
"""Who runs the methods: solo-learn where a usable one is installed, else the built-in host.

Importing this loads neither; :func:`load` does.
"""

from __future__ import annotations

import logging
from dataclasses import dataclass
from functools import cache
from importlib import import_module
from importlib.util import find_spec
from typing import Any

__all__ = ["HOSTS", "Host", "load"]

HOSTS = ("auto", "solo", "builtin")
log = logging.getLogger(__name__)


@dataclass(frozen=True)
class Host:
    """A host's classes.

    Args:
        name: ``solo`` or ``builtin``.
        methods: method classes by solo-learn's names; at least byol, mocov2plus, simclr, simsiam.
        base: parent of all methods.
        base_momentum: parent of those with a momentum network.
        linear: the probe.
        extras: classes put before every method built on this host.
    """

    name: str
    methods: dict[str, type[Any]]
    base: type[Any]
    base_momentum: type[Any]
    linear: type[Any]
    extras: tuple[type[Any], ...] = ()


@cache
def load(name: str = "auto") -> Host:
    """The host called ``name``.

    Args:
        name: ``solo``, ``builtin``, or ``auto``: solo-learn if it is importable and recent
            enough (its methods take a ``cfg``; PyPI's 1.0.2 do not), else the built-in one.

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


def _builtin() -> Host:
    b = import_module("mixmask_solo.host.builtin")
    return Host("builtin", b.METHODS, b.BaseMethod, b.BaseMomentumMethod, b.LinearModel)

# SPDX-License-Identifier: MIT
"""Our classes in solo-learn's registry, under the names solo-learn has for its own."""

from importlib import import_module
from typing import Any

__all__ = ["register"]


def register() -> dict[str, type[Any]]:
    """Puts our classes into ``solo.methods.METHODS``, in place; a second call changes nothing.

    Installing this package is enough where Hydra runs (``hydra_plugins/mixmask_solo_plugin.py``);
    this is for scripts and notebooks without it.

    Returns:
        What was registered: classes by name. Without one of our blocks each behaves like
        solo-learn's own class of that name; methods that no mixture is defined for refuse one.

    Raises:
        ImportError: without a usable solo-learn; says why and what to install.
    """
    registry: dict[str, type[Any]] = import_module("mixmask_solo.host.solo").REGISTRY
    ours: dict[str, type[Any]] = import_module("mixmask_solo.methods.solo").REGISTERED
    registry.update(ours)
    return dict(ours)

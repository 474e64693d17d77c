# SPDX-License-Identifier: MIT
"""solo-learn as a host; the only file that imports it."""

import inspect
from importlib import import_module
from typing import Any

from mixmask_solo.host import Host

_HINT = "docs/solo-learn.md says how to install it; or choose host: builtin"
_PARTS = ("BaseMethod", "LinearModel", "METHODS", "base")
_METHODS = ("byol", "mocov2plus", "simclr", "simsiam")

try:
    import solo.methods as solo
except Exception as error:  # with other versions of its dependencies it fails in many ways
    raise ImportError(f"solo-learn is not importable ({error}): {_HINT}") from error


def _problem() -> str:
    """Why this solo-learn cannot be used; empty if it can."""
    base = getattr(solo, "BaseMethod", None)
    if base is not None and "cfg" not in inspect.signature(base.__init__).parameters:
        return "this solo-learn is too old, its methods take no cfg"
    missing = [name for name in _PARTS if not hasattr(solo, name)]
    missing += [name for name in _METHODS if name not in getattr(solo, "METHODS", ())]
    if not missing and not hasattr(solo.base, "BaseMomentumMethod"):
        missing = ["BaseMomentumMethod"]
    return f"this solo-learn has no {', '.join(missing)}" if missing else ""


if _problem():  # before anything heavy is imported: the plugin asks at every start
    raise ImportError(f"{_problem()}: {_HINT}")

REGISTRY: dict[str, type[Any]] = solo.METHODS
"""solo-learn's own dict, where :func:`mixmask_solo.register` puts our classes."""

HOST = Host(
    "solo",
    dict(REGISTRY),  # as they are before anybody registers: this file is what registering imports
    solo.BaseMethod,
    solo.base.BaseMomentumMethod,
    solo.LinearModel,
    extras=(import_module("mixmask_solo.host.solo_extras").OurKeys,),
)

# SPDX-License-Identifier: MIT
"""solo-learn as a host; the only file that imports it."""

from __future__ import annotations

import inspect

from mixmask_solo.host import Host

__all__ = ["HOST"]

_HINT = "pip install 'mixmask_solo[solo]', or choose host: builtin"

try:
    import solo.methods as solo
except Exception as error:  # with other versions of its dependencies it fails in many ways
    raise ImportError(f"solo-learn is not importable ({error}): {_HINT}") from error

if "cfg" not in inspect.signature(solo.BaseMethod.__init__).parameters:
    raise ImportError(f"this solo-learn is too old, its methods take no cfg: {_HINT}")

HOST = Host(
    "solo",
    {name: solo.METHODS[name] for name in ("byol", "mocov2plus", "simclr", "simsiam")},
    solo.BaseMethod,
    solo.base.BaseMomentumMethod,
    solo.LinearModel,
)

# SPDX-License-Identifier: MIT
"""The methods on solo-learn's own classes; importing this needs solo-learn 1.0.6."""

from __future__ import annotations

from mixmask_solo.host import load
from mixmask_solo.methods.build import build_methods

METHODS = build_methods(load("solo"), __name__)
REGISTERED = dict(METHODS)
globals().update({cls.__name__: cls for cls in REGISTERED.values()})

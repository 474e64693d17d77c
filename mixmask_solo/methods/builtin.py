# SPDX-License-Identifier: MIT
"""The methods on the built-in host, under their names so that they can be pickled."""

from mixmask_solo.host import load
from mixmask_solo.methods.build import build_methods

METHODS = build_methods(load("builtin"), __name__)
globals().update({cls.__name__: cls for cls in METHODS.values()})

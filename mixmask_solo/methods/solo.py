# SPDX-License-Identifier: MIT
"""The methods on solo-learn's own classes; importing this needs solo-learn 1.0.6."""

from mixmask_solo.host import load
from mixmask_solo.methods.build import build_methods
from mixmask_solo.methods.refused import REFUSED, refusing

_HOST = load("solo")

METHODS = build_methods(_HOST, __name__)
"""Those that strategies work with."""

REGISTERED = METHODS | {
    name: refusing(_HOST.methods[name], name, __name__) for name in REFUSED if name in _HOST.methods
}
"""What solo-learn's scripts get, which know no check of ours: the others refuse our blocks."""

globals().update({cls.__name__: cls for cls in REGISTERED.values()})

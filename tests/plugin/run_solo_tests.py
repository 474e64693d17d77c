# SPDX-License-Identifier: MIT
"""solo-learn's own tests with our classes in the place of its own.

``python tests/plugin/run_solo_tests.py CHECKOUT [pytest argument ...]``

Its tests import the classes by name from ``solo.methods`` instead of asking the registry, so
registering alone would leave them with the originals: here those names give our classes too.
"""

from __future__ import annotations

import importlib
import os
import sys

import pytest

import mixmask_solo


def replace_classes() -> None:
    """Registers, and lets every name in ``solo.methods`` that meant an original mean ours."""
    methods = importlib.import_module("solo.methods")
    originals = dict(methods.METHODS)
    ours = {originals[name]: c for name, c in mixmask_solo.register().items() if name in originals}
    replaced = [
        n for n, value in vars(methods).items() if isinstance(value, type) and value in ours
    ]
    for name in replaced:
        setattr(methods, name, ours[getattr(methods, name)])
    print(f"classes replaced: {', '.join(sorted(replaced))}", flush=True)


if __name__ == "__main__":
    os.chdir(sys.argv[1])
    sys.path.insert(0, "")
    replace_classes()
    raise SystemExit(pytest.main(["-p", "no:cacheprovider", *sys.argv[2:]]))

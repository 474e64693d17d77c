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
    for name, ours in mixmask_solo.register().items():
        for attribute, value in list(vars(methods).items()):
            if value is originals.get(name):
                setattr(methods, attribute, ours)
    replaced = [
        n for n, v in vars(methods).items() if getattr(v, "__module__", "").startswith("mix")
    ]
    print(f"classes replaced: {', '.join(sorted(replaced))}", flush=True)


if __name__ == "__main__":
    os.chdir(sys.argv[1])
    sys.path.insert(0, "")
    replace_classes()
    raise SystemExit(pytest.main(["-p", "no:cacheprovider", *sys.argv[2:]]))

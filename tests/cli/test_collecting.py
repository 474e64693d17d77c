# SPDX-License-Identifier: MIT
"""The garbage collector spares libraries, and nothing that comes after them."""

from __future__ import annotations

import gc
import subprocess
import sys
import weakref

import pytest

from mixmask_solo.cli.collecting import uncollected


class Knot:
    """Garbage that only the collector can find."""

    def __init__(self) -> None:
        self.self = self


def test_what_comes_after_is_collected() -> None:
    with uncollected():
        assert not gc.isenabled()
    assert gc.isenabled()
    gone = weakref.ref(Knot())
    gc.collect()
    assert gone() is None
    gc.unfreeze()


def test_it_works_again_after_a_failure_too() -> None:
    with pytest.raises(ImportError), uncollected():
        raise ImportError
    assert gc.isenabled()
    gc.unfreeze()


def test_a_collector_that_was_off_stays_off() -> None:
    gc.disable()
    try:
        with uncollected():
            pass
        assert not gc.isenabled()
    finally:
        gc.enable()
        gc.unfreeze()


def test_at_the_end_nothing_is_searched_for_garbage() -> None:
    script = """
import gc
from mixmask_solo.cli.collecting import uncollected
with uncollected():
    pass
with uncollected():
    pass
class Knot:
    def __del__(self):
        print("found")
knot = Knot()
knot.self = knot
del knot
print("over")
"""
    done = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True)
    assert (done.returncode, done.stdout, done.stderr) == (0, "over\n", "")

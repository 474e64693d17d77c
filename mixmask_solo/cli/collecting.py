# SPDX-License-Identifier: MIT
"""Where the garbage collector does not look: at libraries, which stay until the process ends."""

import atexit
import gc
from collections.abc import Iterator
from contextlib import contextmanager


@contextmanager
def uncollected() -> Iterator[None]:
    """What is imported inside is not searched for garbage, neither meanwhile nor at the end.

    torch and what it brings are half a million objects that all stay; looking through them takes a
    part of the time of importing them, and most of the time that the process takes to end
    (``benchmarks/imports.py``).
    """
    enabled = gc.isenabled()
    gc.disable()
    atexit.unregister(gc.freeze)
    atexit.register(gc.freeze)  # Python looks through everything once more before it ends
    try:
        yield
    finally:
        gc.freeze()
        if enabled:
            gc.enable()

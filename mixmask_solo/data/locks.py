# SPDX-License-Identifier: MIT
"""A lock for threads that does not outlive them."""

import os
import threading


class ThreadLock:
    """Held by one thread of a process at a time.

    A process that is forked meanwhile would get it locked, and no thread that opens it again; it
    gets a new one. Whoever forks must not hold it.
    """

    def __init__(self) -> None:
        self._renew()
        os.register_at_fork(after_in_child=self._renew)  # for ever: for locks of modules

    def _renew(self) -> None:
        self._lock = threading.Lock()

    def __enter__(self) -> None:
        self._lock.acquire()

    def __exit__(self, *error: object) -> None:
        self._lock.release()

# SPDX-License-Identifier: MIT
"""What becomes of DALI where a process forks, a loader's workers above all.

A forked process has the objects of its parent, but not their threads. Destroying a pipeline there
waits for such threads for ever, or crashes; it may be anything that brings it about: a reference
that goes, garbage that is collected, the end of the interpreter.

So a forked process gets, for all pipelines of its parent, a reference that nothing in Python gives
back: they are reachable, hence no garbage, whatever cycles they are in, and their counts do not
reach zero. Their memory is shared with the parent's until either writes to it. The references are
taken before the fork, since what runs right after it in the forked process may set off a collection
before it is our turn. A finalizer that forks, within the collection that is about to destroy a
pipeline, is the one case not covered.
"""

import ctypes
import os
import threading
import weakref
from typing import Any

# by their numbers; garbage stays there until it is collected
_pipelines: "weakref.WeakValueDictionary[int, Any]" = weakref.WeakValueDictionary()
_built_in: set[int] = set()  # processes in which DALI's threads run
_forking = threading.local()  # several threads may fork at once


def owned(pipeline: Any) -> Any:
    """A pipeline that was just built, for this process alone to destroy."""
    _pipelines[id(pipeline)] = pipeline
    _built_in.add(os.getpid())
    return pipeline


def dali_runs_here() -> bool:
    """Whether DALI's threads have been started in this process."""
    return os.getpid() in _built_in


def _living() -> list[Any]:
    return [one for known in _pipelines.valuerefs() if (one := known()) is not None]


def _hold() -> None:
    _forking.held = _living()


def _let_go() -> None:
    del _forking.held


def _hold_for_ever() -> None:
    held = _forking.held + _living()  # other threads may have built some meanwhile
    ctypes.pythonapi.Py_IncRef(ctypes.py_object(held))
    for pipeline in held:
        # those that DALI shuts down at exit; where they are kept is its own affair
        getattr(type(pipeline), "_pipes", set()).clear()


os.register_at_fork(before=_hold, after_in_parent=_let_go, after_in_child=_hold_for_ever)

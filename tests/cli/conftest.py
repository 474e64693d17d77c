# SPDX-License-Identifier: MIT
"""Commands set up logging for their process; tests that call them in-process undo it."""

from __future__ import annotations

import logging
import warnings
from collections.abc import Iterator

import pytest


@pytest.fixture(autouse=True)
def _logging_as_before() -> Iterator[None]:
    root, ours = logging.getLogger(), logging.getLogger("mixmask_solo")
    level, root_handlers, our_handlers = root.level, root.handlers[:], ours.handlers[:]
    with warnings.catch_warnings():
        yield
    root.setLevel(level)
    root.handlers[:], ours.handlers[:] = root_handlers, our_handlers
    for logger in logging.Logger.manager.loggerDict.values():
        if isinstance(logger, logging.Logger):
            logger.disabled = False

# SPDX-License-Identifier: MIT
"""Which of the processes that train together this one is."""

import sys


def rank() -> int:
    """This process' place among those that train together; 0 before Lightning is there."""
    module = sys.modules.get("lightning.fabric.utilities.rank_zero")
    return getattr(getattr(module, "rank_zero_only", None), "rank", 0)

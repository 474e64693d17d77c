# SPDX-License-Identifier: MIT
"""What is put into hidden cells, and filters of whole images: pure functions of batches."""

from mixmask_solo.fills.fill import KINDS, fill
from mixmask_solo.fills.gaussian import blur, high_pass

__all__ = ["KINDS", "blur", "fill", "high_pass"]

# SPDX-License-Identifier: MIT
"""Where images come from: one reader a kind of storage, all of them with the same face."""

from mixmask_solo.data.sources.base import ImageError, Source, Split, Subset
from mixmask_solo.data.sources.reading import read, source

__all__ = ["ImageError", "Source", "Split", "Subset", "read", "source"]

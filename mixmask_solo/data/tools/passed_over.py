# SPDX-License-Identifier: MIT
"""Files in a data set's folder that no reader takes for images."""

from __future__ import annotations

import os
from collections import Counter

from mixmask_solo.data.sources import Source
from mixmask_solo.data.sources.folder import FolderSource
from mixmask_solo.data.sources.scan import IMAGE_SUFFIXES

__all__ = ["passed_over"]


def passed_over(source: Source) -> dict[str, int]:
    """Suffixes of the files below an image folder that are no images by name, and their number."""
    if not isinstance(source, FolderSource):
        return {}
    found = Counter[str]()
    for _, _, files in os.walk(source.root, followlinks=True):
        for file in files:
            suffix = os.path.splitext(file)[1].lower()
            if suffix not in IMAGE_SUFFIXES:
                found[suffix or "(no suffix)"] += 1
    return dict(found.most_common())

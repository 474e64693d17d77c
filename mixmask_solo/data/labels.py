# SPDX-License-Identifier: MIT
"""Images without a label: which part of a split can be measured, and what is said of the rest."""

import logging
from typing import Any

import numpy as np

from mixmask_solo.config import ConfigError, listing
from mixmask_solo.data.sources import Source, Subset
from mixmask_solo.data.sources.base import UNLABELLED

log = logging.getLogger(__name__)


def share(source: Source, key: str) -> str:
    """Whether ``all``, ``some`` or ``none`` of the images have a label; says it unless all have."""
    missing, everyone = int((source.labels == UNLABELLED).sum()), len(source)
    if not missing:
        return "all"
    if missing == everyone:
        log.warning("%s: none of %d images has a label: no accuracy is measured", key, everyone)
        return "none"
    told = "%s: %d of %d images have no label: left out of every accuracy"
    log.warning(told, key, missing, everyone)
    return "some"


def labelled(source: Source, key: str) -> Source | None:
    """The images that have a label; None where none has. One line tells of the others."""
    found = share(source, key)
    if found == "some":
        return Subset(source, np.flatnonzero(source.labels != UNLABELLED))
    return source if found == "all" else None


def refusal(source: Source, key: str, path: Any) -> ConfigError:
    """What to raise where labels are needed and none is there."""
    columns = f"; its columns are {listing(source.columns, 'and')}" if source.columns else ""
    return ConfigError(
        f"{key} is {str(path)!r}: none of its {len(source)} images has a label{columns}; a probe "
        "and k-NN need labelled images"
    )


def uncounted(source: Source) -> Source:
    """The first image without its label: for a process that has none of its own to validate."""
    found = Subset(source, [0])
    found.labels[:] = UNLABELLED
    return found

# SPDX-License-Identifier: MIT
"""Keeps the trainer's small talk away from what a run has to say."""

from __future__ import annotations

import logging
import warnings

__all__ = ["quiet"]

_HARMLESS = (
    r".*does not have many workers.*",  # decided by data.num_workers
    r"The number of training batches .* is smaller than the logging interval.*",
    r"Found \d+ module\(s\) in eval mode.*",  # frozen and momentum networks, on purpose
    r".*Experiment logs directory .* exists.*",  # a resumed run goes on in its own folder
    r".*isinstance\(treespec, LeafSpec\).*",
)


def quiet() -> None:
    """Warnings only, and of those not the ones that do not concern the user of a command."""
    import lightning.fabric  # sets its loggers' levels when imported, so it has to come first
    import lightning.pytorch  # noqa: F401

    for name in ("lightning.pytorch", "lightning.fabric"):
        logging.getLogger(name).setLevel(logging.WARNING)
    for message in _HARMLESS:
        warnings.filterwarnings("ignore", message=message)

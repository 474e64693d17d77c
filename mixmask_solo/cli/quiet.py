# SPDX-License-Identifier: MIT
"""Lets a run's own warnings through and keeps the trainer's small talk away."""

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
    """Sets up logging for a command, after Hydra has (the recipes tell it to disable all)."""
    import lightning.fabric  # sets its loggers' levels when imported, so it has to come first
    import lightning.pytorch  # noqa: F401

    for name in ("lightning.pytorch", "lightning.fabric"):
        logging.getLogger(name).setLevel(logging.WARNING)
    for message in _HARMLESS:
        warnings.filterwarnings("ignore", message=message)
    ours = logging.getLogger("mixmask_solo")
    for name, logger in logging.Logger.manager.loggerDict.items():
        if name.startswith(ours.name) and isinstance(logger, logging.Logger):
            logger.disabled = False
    if not ours.handlers:
        handler = logging.StreamHandler()
        handler.setFormatter(logging.Formatter("%(levelname)s: %(message)s"))
        ours.addHandler(handler)

# SPDX-License-Identifier: MIT
"""Lets a run's own messages through and keeps the trainer's small talk away."""

import logging
import sys
import warnings
from typing import Any

from mixmask_solo.cli.ranks import rank

_HARMLESS = (
    r".*does not have many workers.*",  # decided by data.num_workers
    r"The number of training batches .* is smaller than the logging interval.*",
    r"Found \d+ module\(s\) in eval mode.*",  # frozen and momentum networks, on purpose
    r".*Experiment logs directory .* exists.*",  # a resumed run goes on in its own folder
    r".*isinstance\(treespec, LeafSpec\).*",
)


class _Stderr(logging.StreamHandler[Any]):
    """Shows each of our messages once: not where the root logger shows it, or each rank has it."""

    def __init__(self) -> None:
        logging.Handler.__init__(self)
        self.setFormatter(logging.Formatter("%(levelname)s: %(message)s"))

    @property
    def stream(self) -> Any:
        """Looked up each time: a progress bar stands in for stderr while it is shown."""
        return sys.stderr

    def filter(self, record: logging.LogRecord) -> Any:
        if rank() > 0 and record.levelno < logging.ERROR:
            return False
        consoles, handlers = (sys.stdout, sys.stderr), logging.getLogger().handlers
        shown = any(getattr(handler, "stream", None) in consoles for handler in handlers)
        return not shown and super().filter(record)


def quiet() -> None:
    """Sets up logging for a command, after Hydra has (the recipes tell it to disable all)."""
    import lightning.fabric  # sets its loggers' levels when imported, so it has to come first
    import lightning.pytorch  # noqa: F401

    for name in ("lightning.pytorch", "lightning.fabric"):
        logging.getLogger(name).setLevel(logging.WARNING)
    for message in _HARMLESS:
        warnings.filterwarnings("ignore", message=message)
    ours = logging.getLogger("mixmask_solo")
    ours.setLevel(logging.INFO)
    for name, logger in logging.Logger.manager.loggerDict.items():
        if name.startswith(ours.name) and isinstance(logger, logging.Logger):
            logger.disabled = False
    if not any(isinstance(handler, _Stderr) for handler in ours.handlers):
        ours.addHandler(_Stderr())

# SPDX-License-Identifier: MIT
"""How far a run is, in the unit it is as long as: epochs, or steps.

What the trainer counts as epochs are, in a run of steps, rounds of ``eval_every`` steps, each of
which ends with a validation and a checkpoint.
"""

from typing import Any

from lightning.pytorch import Trainer


def place(cfg: Any, trainer: Trainer) -> str:
    """Where a run stands within an epoch or a round."""
    if "max_steps" in cfg:
        return f"step {trainer.global_step:,}/{cfg.max_steps:,}"
    return f"epoch {trainer.current_epoch + 1}/{cfg.max_epochs}"


def done(cfg: Any, epochs: int) -> str:
    """Of as many finished epochs or rounds, for a message."""
    if "max_steps" in cfg:
        return f"{epochs * cfg.eval_every} of max_steps={cfg.max_steps} steps"
    return f"{epochs} of max_epochs={cfg.max_epochs} epochs"


def batch(cfg: Any, epoch: int, number: int) -> str:
    """A batch of an epoch or a round, all from 0."""
    return f"{'round' if 'max_steps' in cfg else 'epoch'} {epoch + 1}, batch {number + 1}"


def warmup(cfg: Any) -> str:
    """The configuration's key for the length of the warm-up."""
    return f"scheduler.warmup_{'steps' if 'max_steps' in cfg else 'epochs'}"


def key(cfg: Any) -> str:
    """The configuration's key that says how long a run is."""
    return "max_steps" if "max_steps" in cfg else "max_epochs"


def whole(cfg: Any, steps: int) -> str:
    """All of a run, whose epochs have so many ``steps``."""
    if "max_steps" in cfg:
        return f"{cfg.max_steps:,} steps, measured every {cfg.eval_every:,}"
    epochs = f"{cfg.max_epochs} epoch{'s' * (cfg.max_epochs != 1)}"
    return f"{epochs} of {steps:,} step{'s' * (steps != 1)}"

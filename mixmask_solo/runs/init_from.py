# SPDX-License-Identifier: MIT
"""``init_from``: the weights of a checkpoint, and nothing else of it, at the start of a new run."""

import logging
from collections.abc import Mapping
from typing import Any

from torch import Tensor, nn

from mixmask_solo.config import ConfigError
from mixmask_solo.records.checkpoints import checksum
from mixmask_solo.records.pretrained import find_checkpoint, read_pretrained
from mixmask_solo.records.weights import load_weights

log = logging.getLogger(__name__)


def beginning(path: str | None) -> dict[str, Any]:
    """What tells a run from one that began with other weights; ``path`` is None for none."""
    if path is None:
        return {}
    try:
        return {"init_from": {"checksum": checksum(find_checkpoint(path))}}
    except OSError as error:
        raise ConfigError(
            f"init_from: checkpoint '{path}' does not exist or cannot be read"
        ) from error


def initialise(model: Any, path: str) -> None:
    """Loads weights into a method, in place; step, schedule, optimiser and queue start anew.

    The backbone has to be there, whole, in any layout that a probe reads. Heads are loaded where
    the file has them with the same shapes. A momentum network that the file does not hold starts
    as a copy of the online one.
    """
    try:
        pretrained = read_pretrained(path)
        load_weights(model.backbone, pretrained, model.cfg.backbone, "which is backbone.name")
    except ConfigError as error:
        raise ConfigError(f"init_from: {error}") from error
    beside = {n: m for n, m in model.named_children() if m.state_dict() and n != "backbone"}
    taken = ["backbone", *(n for n, m in beside.items() if _loaded(m, f"{n}.", pretrained.state))]
    for online, momentum in getattr(model, "momentum_pairs", ()):
        name = next(n for n, module in model.named_modules() if module is momentum)
        if name not in taken:
            momentum.load_state_dict(online.state_dict())
    new = [name for name in beside if name not in taken and "momentum" not in name]
    log.info(
        "init_from '%s': weights of %s%s",
        *(pretrained.path, ", ".join(taken), f"; new: {', '.join(new)}" if new else ""),
    )


def _loaded(child: nn.Module, prefix: str, state: Mapping[str, Tensor]) -> bool:
    """Whether ``state`` has weights that fit, which ``child`` then has."""
    weights = {k.removeprefix(prefix): t for k, t in state.items() if k.startswith(prefix)}
    expected = {key: tensor.shape for key, tensor in child.state_dict().items()}
    fits = {key: tensor.shape for key, tensor in weights.items()} == expected
    if fits:
        child.load_state_dict(weights)
    return fits

# SPDX-License-Identifier: MIT
"""Weights into a network with every name accounted for.

solo-learn loads with ``strict=False``: a checkpoint of another network leaves random weights behind
without a word, and the probe of a random network is not even bad enough to be noticed.
"""

from __future__ import annotations

from collections.abc import Mapping

from torch import Tensor, nn

from mixmask_solo.config import ConfigError

__all__ = ["load_strictly"]


def load_strictly(module: nn.Module, weights: Mapping[str, Tensor], what: str, hint: str) -> None:
    """Loads ``weights`` into ``module`` in place.

    Args:
        module: the network.
        weights: by the network's own names.
        what: subject of the error line, e.g. ``checkpoint 'x.ckpt' does not fit resnet50``.
        hint: its end: what to do.

    Raises:
        ConfigError: naming the first tensor that is missing, of another shape, or left over.
    """
    problem = _first_problem(module.state_dict(), weights)
    if problem:
        raise ConfigError(f"{what}: {problem}; {hint}")
    module.load_state_dict(dict(weights))


def _first_problem(expected: Mapping[str, Tensor], given: Mapping[str, Tensor]) -> str:
    for name, tensor in expected.items():
        if name in given and given[name].shape != tensor.shape:
            return f"{name} is {_shape(given[name])} in the file, {_shape(tensor)} in the network"
    missing = [name for name in expected if name not in given]
    if missing:
        there = len(expected) - len(missing)
        return f"{missing[0]} is not in the file ({there} of {len(expected)} names are)"
    extra = [name for name in given if name not in expected]
    return f"the file also has {extra[0]}, which the network lacks" if extra else ""


def _shape(tensor: Tensor) -> str:
    return "x".join(map(str, tensor.shape)) or "a scalar"

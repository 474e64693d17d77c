# SPDX-License-Identifier: MIT
"""Weights into a network with every name accounted for and every value a number.

solo-learn loads with ``strict=False``: a checkpoint of another network leaves random weights behind
without a word, and the probe of a random network is not even bad enough to be noticed.
"""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path

import torch
from torch import Tensor, nn

from mixmask_solo.config import ConfigError

__all__ = ["load_strictly"]


def load_strictly(
    module: nn.Module,
    weights: Mapping[str, Tensor],
    names: Mapping[str, str],
    *,
    path: Path,
    what: str,
    hint: str,
) -> None:
    """Loads ``weights`` into ``module`` in place.

    Args:
        module: the network.
        weights: by the network's own names.
        names: the file's names by the network's.
        path: the file.
        what: subject of the error line about names and shapes.
        hint: its end: what to do.

    Raises:
        ConfigError: naming the first tensor of another shape, the first that is missing and the
            first left over; or the first that holds NaN or infinity.
    """
    problems = _problems(module.state_dict(), weights, names)
    if problems:
        raise ConfigError(f"{what}: {', '.join(problems)}; {hint}")
    for name, tensor in weights.items():
        if not torch.isfinite(tensor).all():
            raise ConfigError(
                f"checkpoint '{path}' holds NaN or infinity in {names[name]}: the run diverged, "
                "use an earlier checkpoint"
            )
    module.load_state_dict(dict(weights))


def _problems(
    expected: Mapping[str, Tensor], given: Mapping[str, Tensor], names: Mapping[str, str]
) -> list[str]:
    problems = []
    common = [name for name in expected if name in given]
    for name in common:
        shape, wanted = _shape(given[name]), _shape(expected[name])
        if shape != wanted:
            problems.append(f"{name} is {shape} in the file, {wanted} in the network")
            break
    missing = [name for name in expected if name not in given]
    if missing:
        there = f"{len(common)} of {len(expected)} names are"
        problems.append(f"{missing[0]} is not in the file ({there})")
    extra = [names[name] for name in given if name not in expected]
    if extra:
        problems.append(f"the file also has {extra[0]}, which the network lacks")
    return problems


def _shape(tensor: Tensor) -> str:
    return "x".join(map(str, tensor.shape)) or "a scalar"

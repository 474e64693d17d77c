# SPDX-License-Identifier: MIT
"""A checkpoint as the evaluations see it: where it lies, its weights, how its network was made."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any, NamedTuple

from torch import Tensor

from mixmask_solo.config import ConfigError
from mixmask_solo.runs.checkpoints import LAST, read_checkpoint, stored_config

__all__ = ["Pretrained", "backbone_weights", "find_checkpoint", "read_pretrained"]

SUFFIXES = (".ckpt", ".pth", ".pt")

# Whose backbone a prefix marks: solo-learn's and ours, solo-learn's of 2021, the published MoCo,
# Un-Mix and MixMask code's. A file without any of them holds a backbone alone.
_PREFIXES = ("backbone.", "encoder.", "module.encoder_q.", "module.", "")


class Pretrained(NamedTuple):
    """What a checkpoint holds.

    Attributes:
        path: the file.
        config: the resolved configuration of its run, None where nothing tells it.
        state: every tensor by name.
    """

    path: Path
    config: dict[str, Any] | None
    state: dict[str, Tensor]


def find_checkpoint(path: str | Path) -> Path:
    """The file itself, or for a run's folder its ``last.ckpt``, else the newest ``*.ckpt``.

    Raises:
        ConfigError: for a folder without a checkpoint.
    """
    path = Path(path).expanduser()
    if not path.is_dir():
        return path
    if (path / LAST).is_file():
        return path / LAST
    found = sorted(path.glob("*.ckpt"), key=lambda file: (file.stat().st_mtime, file.name))
    if not found:
        raise ConfigError(
            f"folder '{path}' holds no *.ckpt: give the folder of one run, or a checkpoint file"
        )
    return found[-1]


def read_pretrained(path: str | Path) -> Pretrained:
    """Reads a checkpoint of this package, solo-learn, Lightning, or a plain dict of weights.

    Args:
        path: file or folder of a run.

    Raises:
        ConfigError: when there is none, or it cannot be read.
    """
    file = find_checkpoint(path)
    content = read_checkpoint(file, plain_weights=True)
    state = {name: t for name, t in content["state_dict"].items() if isinstance(t, Tensor)}
    if not state:
        raise ConfigError(f"checkpoint '{file}' holds no weights; use another one")
    return Pretrained(file, stored_config(content, file), state)


def backbone_weights(state: Mapping[str, Tensor]) -> dict[str, Tensor]:
    """The backbone's tensors under the backbone's own names.

    Only names that *start* with the prefix count: ``momentum_backbone.`` is another network.
    """
    for prefix in _PREFIXES:
        found = {k.removeprefix(prefix): t for k, t in state.items() if k.startswith(prefix)}
        if found:
            return found
    return {}

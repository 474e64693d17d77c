# SPDX-License-Identifier: MIT
"""A checkpoint as the evaluations see it: where it lies, its weights, how its network was made."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from types import MappingProxyType
from typing import Any, NamedTuple

from torch import Tensor

from mixmask_solo.config import ConfigError
from mixmask_solo.evaluation.layouts import Layout, backbone_layout, told_backbone
from mixmask_solo.records.checkpoints import LAST, read_checkpoint, stored_config

__all__ = ["Pretrained", "find_checkpoint", "read_pretrained"]


class Pretrained(NamedTuple):
    """What a checkpoint holds.

    Attributes:
        path: the file.
        config: the resolved configuration of its run, None where nothing tells it.
        state: every tensor by name.
        told: keys of a ``backbone`` block that the file itself tells, for want of a configuration.
        evaluate: whose weights are meant, the ``online`` or the ``momentum`` network's.
    """

    path: Path
    config: dict[str, Any] | None
    state: dict[str, Tensor]
    told: Mapping[str, Any] = MappingProxyType({})
    evaluate: str = "online"

    @property
    def layout(self) -> Layout:
        """The backbone that is meant.

        Raises:
            ConfigError: when only the other network is there.
        """
        found = backbone_layout(self.state, self.evaluate)
        if found is None:
            has, other = (
                ("a momentum network only", "momentum")
                if self.evaluate == "online"
                else ("no momentum network", "online")
            )
            raise ConfigError(f"checkpoint '{self.path}' holds {has}: set evaluate={other}")
        return found


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


def read_pretrained(path: str | Path, evaluate: str = "online") -> Pretrained:
    """Reads a checkpoint of this package, solo-learn, other code, or mere weights.

    Args:
        path: file or folder of a run.
        evaluate: the network to be evaluated, ``online`` or ``momentum``.

    Raises:
        ConfigError: when there is none, it cannot be read, or it lacks that network.
    """
    if evaluate not in ("online", "momentum"):
        raise ConfigError(f"evaluate is {evaluate!r}: choose online or momentum")
    file = find_checkpoint(path)
    content = read_checkpoint(file, plain_weights=True)
    found = Pretrained(file, stored_config(content, file), content["state_dict"], {}, evaluate)
    return found._replace(told=told_backbone(content, found.layout))

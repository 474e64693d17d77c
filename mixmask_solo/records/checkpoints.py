# SPDX-License-Identifier: MIT
"""Checkpoint files: whole or absent, read without running code."""

import json
import os
from pathlib import Path
from typing import Any

import torch
from lightning.pytorch.plugins.io import TorchCheckpointIO

from mixmask_solo.config import ConfigError
from mixmask_solo.records.files import read_json, replacing
from mixmask_solo.records.foreign import read_foreign, refuse_archives, unreadable, with_state_dict
from mixmask_solo.records.integrity import defect, is_sealed, seal

LAST = "last.ckpt"
META = "mixmask_solo"
FILTERS = "filters"  # there: names of the run's strategies that filter inputs


def read_checkpoint(path: str | Path, *, plain_weights: bool = False) -> dict[str, Any]:
    """Loads a checkpoint of either host onto the CPU without running any code in it.

    With ``plain_weights`` it takes files of other code, too, for their tensors alone, which come
    back as ``state_dict`` wherever they lie.

    Raises ConfigError when there is no such file, its checksums do not fit its content, or it is
    no checkpoint of tensors and plain values.
    """
    path = Path(path)
    if not path.is_file():
        raise ConfigError(f"checkpoint '{path}' does not exist: check the path{_nearby(path)}")
    _refuse_damaged(path)
    refuse_archives(path)
    try:
        content = torch.load(path, map_location="cpu", weights_only=True)
    except Exception as error:  # a torn or foreign file fails in many ways, all meaning the same
        if not plain_weights:
            raise unreadable(path, error) from error
        content = read_foreign(path)
    _refuse_cut(content, path)
    if plain_weights:
        return with_state_dict(content, path)
    if not isinstance(content, dict) or "state_dict" not in content:
        raise ConfigError(
            f"checkpoint '{path}' has no 'state_dict': expected a file written by "
            "mixmask-pretrain, solo-learn or Lightning"
        )
    return content


def _nearby(path: Path) -> str:
    found = sorted(p.name for p in path.parent.glob("*.ckpt"))
    return f"; '{path.parent}' holds {', '.join(found[:4])}" if found else ""


def _refuse_damaged(path: Path) -> None:
    try:
        found = defect(path)
    except OSError as error:
        raise ConfigError(f"checkpoint '{path}' cannot be read: {error.strerror}") from error
    if found:
        raise ConfigError(f"checkpoint '{path}' is damaged: {found}; use another one")


def _refuse_cut(content: Any, path: Path) -> None:
    told = content.get(META) if isinstance(content, dict) else None
    if isinstance(told, dict) and told.get("sealed") and not is_sealed(path):
        raise ConfigError(f"checkpoint '{path}' is damaged: its end is missing; use another one")


def stored_config(checkpoint: dict[str, Any], path: str | Path) -> dict[str, Any] | None:
    """The configuration a checkpoint was made with: its own copy, or ``args.json`` beside it."""
    if META in checkpoint:
        config: dict[str, Any] = json.loads(checkpoint[META]["config"])
        return config
    return read_json(Path(path).parent / "args.json") or None


class AtomicCheckpointIO(TorchCheckpointIO):
    """Writes beside the target, seals and renames; reads without running code."""

    def save_checkpoint(
        self, checkpoint: dict[str, Any], path: Any, storage_options: Any = None
    ) -> None:
        """See Lightning; ``path`` exists afterwards complete, or as it was before, which an
        OSError that names it tells."""
        try:
            with replacing(Path(path)) as temporary:
                _save(checkpoint, temporary)
        except OSError as error:
            raise OSError(error.errno, error.strerror, str(path)) from error

    def load_checkpoint(
        self, path: Any, map_location: Any = None, weights_only: bool | None = None
    ) -> dict[str, Any]:
        """See Lightning; ``weights_only`` is always on, whether it is passed or not."""
        return read_checkpoint(path)


def _save(content: dict[str, Any], path: Path) -> None:
    with path.open("wb") as file:
        try:
            torch.save(content, file)
        except RuntimeError as error:  # PyTorch's writer: `unexpected pos`, whatever went wrong
            if isinstance(error.__context__, OSError):
                raise error.__context__ from None
            raise
    seal(path)
    with path.open("rb") as file:
        os.fsync(file.fileno())

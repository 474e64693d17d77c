# SPDX-License-Identifier: MIT
"""Checkpoint files: whole or absent, read without running code."""

from __future__ import annotations

import json
import os
from pathlib import Path
from typing import Any, BinaryIO

import torch
from lightning.pytorch.plugins.io import TorchCheckpointIO

from mixmask_solo.config import ConfigError
from mixmask_solo.records.files import read_json, temporary_name
from mixmask_solo.records.foreign import read_foreign, refuse_archives, unreadable
from mixmask_solo.records.integrity import damage, is_sealed, seal
from mixmask_solo.records.weights import with_state_dict

__all__ = [
    "LAST",
    "META",
    "AtomicCheckpointIO",
    "read_checkpoint",
    "stored_config",
]

LAST = "last.ckpt"
META = "mixmask_solo"


def read_checkpoint(path: str | Path, *, plain_weights: bool = False) -> dict[str, Any]:
    """Loads a checkpoint of either host onto the CPU without running any code in it.

    Args:
        path: the file.
        plain_weights: also takes files of other code for their tensors, which come back as
            ``state_dict`` wherever they lie; classes in such a file are passed over.

    Raises:
        ConfigError: when there is no such file, its checksums do not fit its content, or it is no
            checkpoint of tensors and plain values.
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


def _refuse_damaged(path: Path) -> None:
    try:
        found = damage(path)
    except OSError as error:
        raise ConfigError(f"checkpoint '{path}' cannot be read: {error.strerror}") from error
    if found:
        raise ConfigError(f"checkpoint '{path}' is damaged: {found}; use another one")


def _refuse_cut(content: Any, path: Path) -> None:
    told = content.get(META) if isinstance(content, dict) else None
    if isinstance(told, dict) and told.get("sealed") and not is_sealed(path):
        raise ConfigError(f"checkpoint '{path}' is damaged: its end is missing; use another one")


def _nearby(path: Path) -> str:
    found = sorted(p.name for p in path.parent.glob("*.ckpt")) if path.parent.is_dir() else []
    return f"; '{path.parent}' holds {', '.join(found[:4])}" if found else ""


class AtomicCheckpointIO(TorchCheckpointIO):
    """Writes beside the target, seals and renames; reads with ``weights_only=True``."""

    def save_checkpoint(
        self, checkpoint: dict[str, Any], path: Any, storage_options: Any = None
    ) -> None:
        """See Lightning; ``path`` exists afterwards complete, or as it was before.

        Raises:
            OSError: naming ``path``, when it cannot be written.
        """
        path = Path(path)
        temporary = temporary_name(path)
        try:
            _save(checkpoint, temporary)
            seal(temporary)
            with temporary.open("rb") as file:
                os.fsync(file.fileno())
            os.replace(temporary, path)
        except OSError as error:
            raise OSError(error.errno, error.strerror, str(path)) from error
        finally:
            temporary.unlink(missing_ok=True)

    def load_checkpoint(
        self, path: Any, map_location: Any = None, weights_only: bool | None = None
    ) -> dict[str, Any]:
        """See Lightning, whose older releases do not pass ``weights_only``; it is always on."""
        return read_checkpoint(path)


class _Remembering:
    """A file that keeps what went wrong: PyTorch's writer turns it into `unexpected pos`."""

    def __init__(self, file: BinaryIO) -> None:
        self.file = file
        self.error: OSError | None = None

    def write(self, data: Any) -> int:
        try:
            return self.file.write(data)
        except OSError as error:
            self.error = error
            raise

    def flush(self) -> None:
        self.file.flush()


def _save(content: dict[str, Any], path: Path) -> None:
    with path.open("wb") as file:
        remembering = _Remembering(file)
        try:
            torch.save(content, remembering)  # type: ignore[arg-type]
        except RuntimeError as error:
            raise (remembering.error or error) from error


def stored_config(checkpoint: dict[str, Any], path: str | Path) -> dict[str, Any] | None:
    """The configuration a checkpoint was made with: its own copy, or ``args.json`` beside it."""
    if META in checkpoint:
        config: dict[str, Any] = json.loads(checkpoint[META]["config"])
        return config
    return read_json(Path(path).parent / "args.json") or None

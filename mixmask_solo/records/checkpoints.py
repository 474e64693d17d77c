# SPDX-License-Identifier: MIT
"""Checkpoint files: whole or absent, bit for bit what was written, read without running code.

PyTorch compares no checksums of a zip archive: nearly every flipped bit is loaded as another
weight. Our files carry a CRC-32 of themselves in the archive's comment, which finds every single
flipped bit, padding included; of others' files the archive's own checksums are used.
"""

import json
import os
import re
import zipfile
import zlib
from pathlib import Path
from typing import Any, BinaryIO

import torch
from lightning.pytorch.plugins.io import TorchCheckpointIO
from safetensors import safe_open

from mixmask_solo.config import ConfigError
from mixmask_solo.config.files import read_json, replacing
from mixmask_solo.records.foreign import read_foreign, refuse_archives, unreadable, with_state_dict
from mixmask_solo.records.registry.record import LAST  # noqa: F401 (read there without torch)

META = "mixmask_solo"
FILTERS = "filters"  # there: names of the run's strategies that filter inputs
FACTS = "mixmask"  # beside exported weights: what is known of them
_END = b"PK\x05\x06"  # the zip record that ends the file, 22 bytes and the comment
_END_SIZE = 22
_MARK = b"mixmask-crc32:"
_SIZE = len(_MARK) + 8
_CHUNK = 1 << 20


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
    damaged = f"checkpoint '{path}' is damaged"
    try:
        if found := defect(path):
            raise ConfigError(f"{damaged}: {found}; use another one")
    except OSError as error:
        raise ConfigError(f"checkpoint '{path}' cannot be read: {error.strerror}") from error
    if plain_weights and path.suffix == ".safetensors":
        return _read_safetensors(path)
    refuse_archives(path)
    try:
        content = torch.load(path, map_location="cpu", weights_only=True)
    except Exception as error:  # a torn or foreign file fails in many ways, all meaning the same
        if not plain_weights:
            raise unreadable(path, error) from error
        content = read_foreign(path)
    told = content.get(META) if isinstance(content, dict) else None
    if isinstance(told, dict) and told.get("sealed") and not is_sealed(path) and _is_cut(path):
        raise ConfigError(f"{damaged}: its end is missing; use another one")
    if plain_weights:
        return with_state_dict(content, path)
    if not isinstance(content, dict) or "state_dict" not in content:
        raise ConfigError(
            f"checkpoint '{path}' has no 'state_dict': expected a file written by "
            "mixmask-pretrain, solo-learn or Lightning"
        )
    return content


def _read_safetensors(path: Path) -> dict[str, Any]:
    """Its tensors, and what an export of ours tells of them in the header."""
    try:
        with safe_open(path, "pt") as file:
            told = json.loads((file.metadata() or {}).get(FACTS, "null"))
            state = {name: file.get_tensor(name) for name in file.keys()}  # noqa: SIM118
    except Exception as error:  # whatever is wrong with the file
        raise unreadable(path, error) from error
    return {"state_dict": state, FACTS: told}


def _nearby(path: Path) -> str:
    found = sorted(p.name for p in path.parent.glob("*.ckpt"))
    return f"; '{path.parent}' holds {', '.join(found[:4])}" if found else ""


def stored_config(checkpoint: dict[str, Any], path: str | Path) -> dict[str, Any] | None:
    """The configuration a checkpoint was made with: its own copy, or ``args.json`` beside it."""
    if META in checkpoint:
        return dict(json.loads(checkpoint[META]["config"]))
    written = read_json(Path(path).parent / "args.json")
    written.pop("provenance", None)  # no part of the configuration
    return written or None


class AtomicCheckpointIO(TorchCheckpointIO):
    """Writes beside the target, seals and renames; reads without running code."""

    def save_checkpoint(
        self, checkpoint: dict[str, Any], path: Any, storage_options: Any = None
    ) -> None:
        """See Lightning; a ``path`` that cannot be written stays as it was, an OSError names it."""
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


def seal(path: Path) -> None:
    """Puts the CRC-32 of a file into its comment; what is no plain zip archive stays as it is."""
    with path.open("r+b") as file:
        size = file.seek(0, 2)
        file.seek(max(0, size - _END_SIZE))
        end = file.read()
        if not end.startswith(_END) or not end.endswith(b"\0\0"):
            return
        comment = _MARK + b"%08x" % _crc(file, size)
        file.seek(size - 2)
        file.write(len(comment).to_bytes(2, "little") + comment)


def is_sealed(path: Path) -> bool:
    """Whether the file ends in a checksum of ours."""
    return _stored(path) is not None


def _is_cut(path: Path) -> bool:
    """Whether the archive's comment is not whole; one that was saved anew by others has none."""
    with path.open("rb") as file:
        archive = file.read(2) == b"PK"
        file.seek(-_END_SIZE, 2)
        end = file.read()
    return archive and not (end.startswith(_END) and end.endswith(b"\0\0"))


def defect(path: Path) -> str:
    """What is wrong with the file; an empty text where nothing is, or nothing could tell."""
    stored = _stored(path)
    if stored is not None:
        return "" if checksum(path) == stored else "its checksum does not fit its content"
    try:
        with zipfile.ZipFile(path) as archive:
            member = archive.testzip()
    except (zipfile.BadZipFile, NotImplementedError, EOFError, ValueError, zlib.error):
        # PyTorch's older format is no zip archive and has no checksums at all
        with path.open("rb") as file:
            return "it is not whole" if file.read(2) == b"PK" else ""
    return f"the checksum of {member} does not fit its content" if member else ""


def checksum(path: Path) -> int:
    """CRC-32 of a file, the same before and after it was sealed."""
    with path.open("rb") as file:
        size = file.seek(0, 2)
        return _crc(file, size - _SIZE if is_sealed(path) else size)


def _stored(path: Path) -> int | None:
    with path.open("rb") as file:
        size = file.seek(0, 2)
        file.seek(max(0, size - _END_SIZE - _SIZE))
        tail = file.read()
    end, comment = tail[:_END_SIZE], tail[_END_SIZE:]
    found = re.fullmatch(re.escape(_MARK) + rb"([0-9a-f]{8})", comment)
    whole = end.startswith(_END) and end.endswith(_SIZE.to_bytes(2, "little"))
    return int(found[1], 16) if found and whole else None


def _crc(file: BinaryIO, size: int) -> int:
    """Of the first ``size`` bytes with the length of the comment taken for 0."""
    file.seek(0)
    crc, left = 0, size - 2
    while left > 0 and (chunk := file.read(min(_CHUNK, left))):
        crc, left = zlib.crc32(chunk, crc), left - len(chunk)
    return zlib.crc32(b"\0\0", crc)

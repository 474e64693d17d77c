# SPDX-License-Identifier: MIT
"""Checkpoints of other code: their weights, wherever they lie, without running any of that code."""

import re
import tarfile
import warnings
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from mixmask_solo.config import ConfigError, listing
from mixmask_solo.records import inert_pickle
from mixmask_solo.records.inert_pickle import Inert

# How PyTorch's releases say which class their safe reading refuses.
_REFUSED = re.compile(r"(?:GLOBAL|Unsupported class) ([\w.]+)")
_ONE = ("state_dict", "model_state_dict", "model")  # where weights lie
_SHOWN = 8  # keys of a file without weights
_TWO = ("student", "teacher")  # each network under a key of its own


def refuse_archives(path: Path) -> None:
    """Refuses what ``torch.load`` would hand to loaders that no pickle module binds: TorchScript
    and tar archives."""
    try:
        records = torch._C.PyTorchFileReader(str(path)).get_all_records()
    except RuntimeError:  # not zipped
        records = []
    try:
        is_tar = not records and tarfile.is_tarfile(path)
    except OSError as error:
        raise unreadable(path, error) from error
    if is_tar:
        raise ConfigError(
            f"checkpoint '{path}' cannot be read: it is a tar archive, PyTorch's format before "
            "0.1.10; save it again with a newer one"
        )
    if "constants.pkl" in records:
        raise ConfigError(
            f"checkpoint '{path}' cannot be read: it is a TorchScript archive, code and all; save "
            "its model.state_dict() and give that file"
        )


def unreadable(path: Path, error: Exception) -> ConfigError:
    """The error line for a file that ``torch.load`` refuses with ``error``."""
    blocking = _REFUSED.search(str(error))
    if blocking:
        return ConfigError(
            f"checkpoint '{path}' cannot be read: it holds a {blocking[1]}, which only code named "
            "in the file could restore; use one of tensors and plain values"
        )
    what, instead = "damaged or no PyTorch checkpoint", "use another one"
    if path.suffix == ".pkl":  # as mixmask-export writes them, too
        what, instead = "damaged or Detectron2's", "use the checkpoint that it was made from"
    return ConfigError(
        f"checkpoint '{path}' cannot be read ({type(error).__name__}): it is {what}; {instead}"
    )


def read_foreign(path: Path) -> Any:
    """What a file holds, ``Inert`` in the place of everything that is no tensor or plain value."""
    # latin1 can decode every byte string of Python 2; it matters to nothing else
    options: dict[str, Any] = {"pickle_module": inert_pickle, "encoding": "latin1"}
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            return torch.load(path, map_location="cpu", weights_only=False, **options)
    except Exception as error:  # torn files fail in many ways, all meaning the same
        raise unreadable(path, error) from error


def with_state_dict(content: Any, path: Path) -> dict[str, Any]:
    """The content of a checkpoint with its tensors by name as ``state_dict``.

    They are the content itself, or lie under ``state_dict``, ``model_state_dict`` or ``model``, or
    under ``student`` and ``teacher``, which are then put in front of their names. Raises
    ConfigError when there are no weights, or not as plain tensors, naming the class they are.
    """
    whole: dict[str, Any] = content if isinstance(content, dict) else {}
    state = _find(whole)
    if state is None:
        raise _without_weights(content, whole, path)
    for name, value in state.items():
        if isinstance(value, Inert) and not name.endswith("_extra_state"):
            raise ConfigError(
                f"checkpoint '{path}' holds {name} as {value.origin}, not as a plain tensor: "
                "convert its weights and save them again"
            )
    return {**whole, "state_dict": {k: t for k, t in state.items() if isinstance(t, Tensor)}}


def _find(content: dict[str, Any]) -> dict[str, Any] | None:
    for key in _ONE:
        if _is_state(content.get(key)):
            return content[key]
    networks = [key for key in _TWO if _is_state(content.get(key))]
    if networks:
        return {f"{net}.{name}": t for net in networks for name, t in content[net].items()}
    kinds = (Tensor, int, float, str)  # Monodepth2 has sizes of images beside its weights
    plain = all(isinstance(value, kinds) for value in content.values())
    return content if plain and _is_state(content) else None


def _is_state(value: Any) -> bool:
    return isinstance(value, dict) and any(isinstance(v, Tensor) for v in value.values())


def _without_weights(content: Any, whole: dict[str, Any], path: Path) -> ConfigError:
    as_module = "which only its own code could rebuild: save model.state_dict() and give that file"
    if isinstance(content, Inert) and not content:
        return ConfigError(f"checkpoint '{path}' is a pickled {content.origin}, {as_module}")
    for key, value in whole.items():
        if isinstance(value, Inert) and (value.is_module or key in (*_ONE, *_TWO)) and not value:
            return ConfigError(
                f"checkpoint '{path}' has under '{key}' a pickled {value.origin}, {as_module}"
            )
    more = [f"{len(whole) - _SHOWN:,} more"] if len(whole) > _SHOWN else []
    keys = listing([*[str(key) for key in whole][:_SHOWN], *more], "and")
    has = f"it has the keys {keys}" if whole else "it has no keys"
    return ConfigError(
        f"checkpoint '{path}' holds no weights: expected are tensors by name, alone or under "
        f"{listing([*_ONE, *_TWO])}; {has}"
    )

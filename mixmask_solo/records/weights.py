# SPDX-License-Identifier: MIT
"""Where a checkpoint keeps its weights."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from torch import Tensor

from mixmask_solo.config import ConfigError
from mixmask_solo.config.errors import listing
from mixmask_solo.records.inert_pickle import Inert

__all__ = ["with_state_dict"]

_ONE = ("state_dict", "model_state_dict", "model")
_TWO = ("student", "teacher")  # each under a key of its own


def with_state_dict(content: Any, path: Path) -> dict[str, Any]:
    """The content of a checkpoint with its tensors by name as ``state_dict``.

    Args:
        content: a dict of tensors, or with one under ``state_dict``, ``model_state_dict`` or
            ``model``, or with two under ``student`` and ``teacher``, whose tensors get that name in
            front.
        path: for error lines.

    Raises:
        ConfigError: when there are no weights, or not as plain tensors, naming the class they are.
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
    if content and all(isinstance(value, Tensor) for value in content.values()):
        return content
    return None


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
    has = f"it has the keys {listing(whole, 'and')}" if whole else "it has no keys"
    return ConfigError(
        f"checkpoint '{path}' holds no weights: expected are tensors by name, alone or under "
        f"{listing([*_ONE, *_TWO])}; {has}"
    )

# SPDX-License-Identifier: MIT
"""From an OmegaConf node to plain Python values, interpolations resolved, and back."""

from __future__ import annotations

import re
from typing import Any

from omegaconf import OmegaConf
from omegaconf.errors import OmegaConfBaseException

from mixmask_solo.config.errors import ConfigError

__all__ = ["literal", "plain"]


def plain(node: Any, prefix: str = "") -> Any:
    """Copies a node into dicts, lists and scalars; the node itself stays as it is.

    Args:
        node: DictConfig, ListConfig or plain Python value.
        prefix: full key of the node, for the error line.

    Raises:
        ConfigError: for an interpolation that leads nowhere, or a value still ``???``.
    """
    if OmegaConf.is_config(node):
        try:
            node = OmegaConf.to_container(node, resolve=True, throw_on_missing=False)
        except OmegaConfBaseException as error:
            key = error.full_key or prefix or "the configuration"
            raise ConfigError(f"{key} cannot be resolved: {str(error).splitlines()[0]}") from None
    return _copy(node, prefix)


def _copy(value: Any, key: str) -> Any:
    if isinstance(value, dict):
        return {k: _copy(v, f"{key}.{k}" if key else str(k)) for k, v in value.items()}
    if isinstance(value, (list, tuple)):
        return [_copy(v, f"{key}[{i}]") for i, v in enumerate(value)]
    if isinstance(value, str) and value == "???":
        raise ConfigError(f"{key} is missing (???): give it a value, e.g. {key}=... as an argument")
    return value


def literal(value: Any) -> Any:
    """Plain values whose strings a node gives back as they are, ``${`` in them included."""
    if isinstance(value, dict):
        return {k: literal(v) for k, v in value.items()}
    if isinstance(value, list):
        return [literal(v) for v in value]
    if isinstance(value, str):
        return re.sub(r"(\\*)\$\{", r"\1\1\\${", value)
    return value

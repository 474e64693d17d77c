# SPDX-License-Identifier: MIT
"""From OmegaConf's nodes to plain Python values, interpolations resolved, and back."""

from __future__ import annotations

import re
from typing import Any

from omegaconf import OmegaConf
from omegaconf.errors import OmegaConfBaseException

from mixmask_solo.config.errors import ConfigError

__all__ = ["literal", "to_values"]


def to_values(node: Any, prefix: str = "") -> Any:
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
    if isinstance(node, dict):
        return {k: to_values(v, f"{prefix}.{k}" if prefix else str(k)) for k, v in node.items()}
    if isinstance(node, (list, tuple)):
        return [to_values(v, f"{prefix}[{i}]") for i, v in enumerate(node)]
    if node == "???":
        key = prefix
        raise ConfigError(f"{key} is missing (???): give it a value, e.g. {key}=... as an argument")
    return node


def literal(value: Any) -> Any:
    """Plain values whose strings a node gives back as they are, ``${`` in them included."""
    if isinstance(value, dict):
        return {k: literal(v) for k, v in value.items()}
    if isinstance(value, list):
        return [literal(v) for v in value]
    if isinstance(value, str):
        return re.sub(r"(\\*)\$\{", r"\1\1\\${", value)
    return value

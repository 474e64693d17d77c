# SPDX-License-Identifier: MIT
"""From OmegaConf's nodes to plain Python values, interpolations resolved, and back."""

import re
from typing import Any

from omegaconf import OmegaConf
from omegaconf.errors import OmegaConfBaseException

from mixmask_solo.config.errors import ConfigError


def to_values(node: Any, prefix: str = "") -> Any:
    """Copies a node, OmegaConf's or plain, into dicts, lists and scalars.

    Raises:
        ConfigError: for an interpolation that leads nowhere, or a value still ``???``; names the
            key, which is below ``prefix``.
    """
    if OmegaConf.is_config(node):
        try:
            node = OmegaConf.to_container(node, resolve=True, throw_on_missing=False)
        except OmegaConfBaseException as error:
            key = error.full_key or prefix or "the configuration"
            raise ConfigError(f"{key} cannot be resolved: {str(error).splitlines()[0]}") from None
    if isinstance(node, dict):
        return {k: to_values(v, full_key(prefix, k)) for k, v in node.items()}
    if isinstance(node, (list, tuple)):
        return [to_values(v, f"{prefix}[{i}]") for i, v in enumerate(node)]
    if node == "???":
        raise ConfigError(
            f"{prefix} is missing (???): give it a value, e.g. {prefix}=... as an argument"
        )
    return node


def get(cfg: Any, key: str, default: Any = None) -> Any:
    """A dotted key as a plain value; ``default`` where it is absent or null."""
    node = cfg if OmegaConf.is_config(cfg) else OmegaConf.create(cfg)
    value = OmegaConf.select(node, key, default=None)
    return default if value is None else to_values(value, key)


def full_key(prefix: str, name: object) -> str:
    """``prefix.name``, without the dot at the root."""
    return f"{prefix}.{name}" if prefix else str(name)


def literal(value: Any) -> Any:
    """Plain values whose strings a node gives back as they are, ``${`` in them included."""
    if isinstance(value, dict):
        return {k: literal(v) for k, v in value.items()}
    if isinstance(value, list):
        return [literal(v) for v in value]
    if isinstance(value, str):
        return re.sub(r"(\\*)\$\{", r"\1\1\\${", value)
    return value

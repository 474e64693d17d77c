# SPDX-License-Identifier: MIT
"""The configuration as plain values."""

from typing import Any

from omegaconf import OmegaConf

from mixmask_solo.config import ConfigError, to_values
from mixmask_solo.config.datasets import info


def get(cfg: Any, key: str, default: Any = None) -> Any:
    """A dotted key as a plain value; ``default`` where it is absent or null."""
    node = cfg if OmegaConf.is_config(cfg) else OmegaConf.create(cfg)
    value = OmegaConf.select(node, key, default=None)
    return default if value is None else to_values(value, key)


def data_block(cfg: Any) -> dict[str, Any]:
    """The ``data`` block as a dict, with a known ``dataset`` in it.

    Raises:
        ConfigError: when the block or the name of the data set is missing or unknown.
    """
    block = get(cfg, "data")
    if not isinstance(block, dict) or block.get("dataset") is None:
        raise ConfigError("data.dataset is missing: give the name of a data set, e.g. digits")
    info(block["dataset"])
    return block

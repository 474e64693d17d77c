# SPDX-License-Identifier: MIT
"""Configuration: schema, checks, derived values."""

from mixmask_solo.config.check import check, to_values, with_defaults
from mixmask_solo.config.errors import ConfigError, did_you_mean, listing, require_known
from mixmask_solo.config.minimal import minimal
from mixmask_solo.config.option import option
from mixmask_solo.config.resolve import (
    resolve_detect,
    resolve_finetune,
    resolve_linear,
    resolve_pretrain,
)

__all__ = [
    "ConfigError",
    "check",
    "did_you_mean",
    "listing",
    "minimal",
    "option",
    "require_known",
    "resolve_detect",
    "resolve_finetune",
    "resolve_linear",
    "resolve_pretrain",
    "to_values",
    "with_defaults",
]

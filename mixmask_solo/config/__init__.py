# SPDX-License-Identifier: MIT
"""Configuration: schema, checks, derived values."""

from mixmask_solo.config.check import check
from mixmask_solo.config.errors import ConfigError
from mixmask_solo.config.option import option
from mixmask_solo.config.resolve import resolve_linear, resolve_pretrain

__all__ = ["ConfigError", "check", "option", "resolve_linear", "resolve_pretrain"]

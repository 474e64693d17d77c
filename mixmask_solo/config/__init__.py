# SPDX-License-Identifier: MIT
"""Configuration: schema, checks, derived values."""

from __future__ import annotations

from mixmask_solo.config.check import check
from mixmask_solo.config.errors import ConfigError
from mixmask_solo.config.nearest import nearest
from mixmask_solo.config.option import option

__all__ = ["ConfigError", "check", "nearest", "option"]

# SPDX-License-Identifier: MIT
"""Configuration: schema, checks, derived values."""

from __future__ import annotations

from mixmask_solo.config.errors import ConfigError

__all__ = ["ConfigError"]

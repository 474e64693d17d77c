# SPDX-License-Identifier: MIT
"""The one exception a wrong configuration ends in."""

from __future__ import annotations

__all__ = ["ConfigError"]


class ConfigError(ValueError):
    """A configuration the user has to change.

    The message is one line: the key, the value found, what is allowed. The command line
    prints it without a traceback and leaves with exit code 2.
    """

    def __init__(self, message: str) -> None:
        super().__init__(" ".join(message.split()))

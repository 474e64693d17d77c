# SPDX-License-Identifier: MIT
"""Methods that neither host has, made over either host's base classes."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from mixmask_solo.methods.mocov2 import mocov2

if TYPE_CHECKING:
    from mixmask_solo.host import Host

__all__ = ["own_methods"]


def own_methods(host: Host) -> dict[str, type[Any]]:
    """Classes by method name; each may name its ``step_base``, the class under the mixin.

    Args:
        host: whose bases they stand on.
    """
    return {"mocov2": mocov2(host)}

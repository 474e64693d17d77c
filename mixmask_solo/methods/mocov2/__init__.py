# SPDX-License-Identifier: MIT
"""Official MoCo (v1, v2 and the symmetric form of its small-image demo) over either host."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from mixmask_solo.methods.mocov2.method import MoCoStep, MoCoV2
from mixmask_solo.methods.mocov2.options import complete_mocov2

if TYPE_CHECKING:
    from mixmask_solo.host import Host

__all__ = ["mocov2"]


def mocov2(host: Host) -> type[Any]:
    """``MoCoV2`` over the base that brings backbone, classifier, optimiser, moving average."""
    step_base = type("MoCoStepBase", (MoCoStep, host.base_momentum), {})

    def add_and_assert_specific_cfg(cfg: Any) -> Any:
        """MoCo's defaults and checks, then the host's."""
        return host.base_momentum.add_and_assert_specific_cfg(complete_mocov2(cfg))

    attributes = {
        "__doc__": MoCoV2.__doc__,
        "step_base": step_base,
        "add_and_assert_specific_cfg": staticmethod(add_and_assert_specific_cfg),
    }
    return type("MoCoV2", (MoCoV2, step_base), attributes)

# SPDX-License-Identifier: MIT
"""What every family is made of: mixed outputs, target views, and the λ-weighted pair loss."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any, ClassVar, NamedTuple, Protocol

from torch import Tensor

from mixmask_solo.objectives import soft
from mixmask_solo.strategies import Branch

__all__ = ["Family", "Mixed", "Out", "PairLoss", "soft_pair", "target_views"]

PairLoss = Callable[[Tensor, Tensor], Tensor]
Out = dict[str, Any]


class Mixed(NamedTuple):
    """A branch, the online output of its images, and those images' momentum output if needed."""

    branch: Branch
    out: Out
    momentum: Callable[[], Tensor]


class Family(Protocol):
    """How one method turns mixed outputs into losses."""

    pairing: ClassVar[str]

    def losses(self, method: Any, out: Out, mixed: Sequence[Mixed]) -> list[Tensor]:
        """One scalar per branch, unweighted by ``branch.weight``.

        Args:
            method: the host's method, for its queue and temperature.
            out: what the host's base class returned for the views, per view; may be added to.
            mixed: the branches with their outputs.
        """


def target_views(branch: Branch, pairing: str, n_views: int) -> list[int]:
    """Indexes of the un-mixed views a branch is compared with; view 0 is the mixed one."""
    targets = branch.targets or ("both" if pairing == "query" else "other")
    return list(range(n_views)) if targets == "both" else list(range(1, n_views))


def soft_pair(loss: PairLoss, pred: Tensor, target: Tensor, branch: Branch) -> Tensor:
    """λ-weighted mean of ``loss(pred_i, target_i)`` and ``loss(pred_i, target_partner(i))``."""
    _, lam, partner = branch.mixture
    own = loss(pred, target)
    if not branch.switch:
        return (lam * own).mean()
    return soft(own, loss(pred, target[partner]), lam).mean()

# SPDX-License-Identifier: MIT
"""SimCLR: NT-Xent of mixed and un-mixed images as one soft-label cross-entropy."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, ClassVar

import torch
from torch import Tensor

from mixmask_solo.methods.families.base import Mixed, Out, target_views
from mixmask_solo.objectives import soft_nt_xent

__all__ = ["SimCLRFamily"]


class SimCLRFamily:
    """NT-Xent between an un-mixed view and the mixed one, as one soft-label cross-entropy.

    ``pair`` is the default and what Un-Mix publishes in words: λ·NTX(z², z^m) + (1−λ)·NTX(z²,
    z^m re-ordered), computed from one logit matrix. ``query`` keeps only the mixed rows as
    anchors (extension). The second source stays among the negatives of the first term, as there.

    With htdt's or Google's head each pair passes the head together: the un-mixed view's
    projections differ between the host's loss and each mixture's, as in three full passes there.
    """

    pairing: ClassVar[str] = "pair"

    def losses(self, method: Any, out: Out, mixed: Sequence[Mixed]) -> list[Tensor]:
        """See :class:`Family`."""
        return [self._loss(method, out, m) for m in mixed]

    def _loss(self, method: Any, out: Out, m: Mixed) -> Tensor:
        pairing = m.branch.pairing or self.pairing
        # Un-Mix pairs the mixture with view 2 alone, in either reading, unless asked otherwise.
        views = target_views(m.branch, "pair", method.num_large_crops)
        terms = [
            soft_nt_xent(
                *_pair(method, out, m, v),
                m.branch.mixture.lam,
                m.branch.mixture.partner,
                method.temperature,
                query_only=pairing == "query",
                switch=m.branch.switch,
            )
            for v in views
        ]
        return torch.stack(terms).mean()


def _pair(method: Any, out: Out, m: Mixed, view: int) -> tuple[Tensor, Tensor]:
    """Projections of an un-mixed view and of the mixed images, each ``(N, D)``."""
    if "raw_z" not in out:
        return out["z"][view], m.out["z"]
    u, v = method.projector.joint([out["raw_z"][view], m.out["z"]])
    return u, v

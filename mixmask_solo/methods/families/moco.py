# SPDX-License-Identifier: MIT
"""MoCo v2+: mixed queries against momentum keys and a queue for each view."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, ClassVar

import torch
from torch import Tensor

from mixmask_solo.methods.families.base import Mixed, Out, soft_pair, target_views
from mixmask_solo.objectives import info_nce_from_lse, queue_lse, soft

__all__ = ["MoCoFamily", "mirror_term", "query_term"]


class MoCoFamily:
    """InfoNCE against the momentum keys and the queue as it was before this step.

    A query of view v meets the queue that holds keys of the other view, as in the host. Clean and
    mixed queries of one queue share a single streamed product; the partner's term needs only its
    own positive and the very same log-sum-exp (performance is the reason: at 65,536 keys the
    queue is most of what a step does besides the networks).
    """

    pairing: ClassVar[str] = "query"

    def losses(self, method: Any, out: Out, mixed: Sequence[Mixed]) -> list[Tensor]:
        """See :class:`Family`; leaves ``out["queue_lse"]`` for the host's own loss."""
        q, keys, t = out["z"], out["momentum_z"], method.temperature
        clean, lse = self._queue_lse(method, q, mixed)
        out["queue_lse"] = (clean[1], clean[0])  # of view 1 on queue 1, of view 2 on queue 0
        losses = []
        for m, rows in zip(mixed, lse, strict=True):
            pairing = m.branch.pairing or self.pairing
            views = target_views(m.branch, pairing, 2)
            terms = [query_term(m, keys[v], rows[v], t) for v in views]
            if pairing == "pair":
                z = m.momentum()
                # View v as query meets queue 1 - v, which holds keys of the other view.
                terms += [mirror_term(m, q[v], z, clean[1 - v], t) for v in views]
            losses.append(torch.stack(terms).mean())
        return losses

    @staticmethod
    def _queue_lse(
        method: Any, q: Sequence[Tensor], mixed: Sequence[Mixed]
    ) -> tuple[dict[int, Tensor], list[dict[int, Tensor]]]:
        """log Σ exp over each queue: of the clean queries by queue, of the mixed by branch."""
        n = len(q[0])
        clean: dict[int, Tensor] = {}
        of_mixed: list[dict[int, Tensor]] = [{} for _ in mixed]
        for v in (0, 1):
            users = [
                i
                for i, m in enumerate(mixed)
                if v in target_views(m.branch, m.branch.pairing or "query", 2)
            ]
            rows = torch.cat([q[1 - v], *(mixed[i].out["z"] for i in users)])
            parts = queue_lse(rows, method.queue[v], method.temperature).split(n)
            clean[v] = parts[0]
            for i, part in zip(users, parts[1:], strict=True):
                of_mixed[i][v] = part
        return clean, of_mixed


def query_term(m: Mixed, key: Tensor, lse: Tensor, temperature: float) -> Tensor:
    """Mixed queries against the keys ``(N, D)`` of both their sources; ``lse (N,)`` is theirs."""
    return soft_pair(
        lambda q, k: info_nce_from_lse(q, k, lse, temperature), m.out["z"], key, m.branch
    )


def mirror_term(m: Mixed, q: Tensor, z: Tensor, lse: Tensor, temperature: float) -> Tensor:
    """Un-mixed queries ``(N, D)`` against the mixed images' keys ``z`` (extension)."""
    _, lam, partner = m.branch.mixture
    own = info_nce_from_lse(q, z, lse, temperature)
    if not m.branch.switch:
        return (lam * own).mean()
    return soft(own, info_nce_from_lse(q[partner], z, lse[partner], temperature), lam).mean()

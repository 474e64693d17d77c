# SPDX-License-Identifier: MIT
r"""ReSSL with mixtures: a mixture's relation to the queue follows those of its two sources.

**What.** The host compares how view 1's query and view 2's momentum key relate to a queue of past
keys: cross entropy of two softmax distributions over it, one direction only. A mixture's query
follows both sources' relations, each with its share:

.. math:: L_\text{mix} = \tfrac1N \sum_i
   \lambda_i\,H(P(k^2_i), P(q^m_i)) + (1-\lambda_i)\,H(P(k^2_{\pi(i)}), P(q^m_i))

Cross entropy being linear in its target, this is the cross entropy against the λ-weighted mean of
both relations: for ReSSL a mixture has a target of the very kind the method is made for. The queue
is the one before this step, as in the host; it takes no mixtures.

**Published.** Nothing: all of it is an extension (paper's Eq. 6 on this method's pair loss).
By default the key of view 2 alone, since the host has that direction only: view 2 is the weakly
augmented one. ``targets: both`` averages over the keys of both views. ``pairing: pair`` is
refused: there is no second direction for a mixture to be the target of.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, ClassVar

import torch
from torch import Tensor

from mixmask_solo.methods.families.base import Mixed, Out, soft_pair, target_views
from mixmask_solo.objectives import queue_lse, relation_from_lse, relation_target

__all__ = ["ReSSLFamily"]


class ReSSLFamily:
    """Cross entropy of relations to the queue, averaged over the views asked for."""

    pairing: ClassVar[str] = "query"

    def losses(self, method: Any, out: Out, mixed: Sequence[Mixed]) -> list[Tensor]:
        """See :class:`Family`."""
        wanted = {v for m in mixed for v in self._views(m, out)}
        targets = {
            v: relation_target(out["momentum_z"][v], method.queue, method.temperature_k)
            for v in sorted(wanted)
        }
        return [self._loss(method, m, [targets[v] for v in self._views(m, out)]) for m in mixed]

    def _loss(self, method: Any, m: Mixed, targets: list[Tensor]) -> Tensor:
        query, t = m.out["z"], method.temperature_q
        lse = queue_lse(query, method.queue.T, t)
        terms = [
            soft_pair(lambda q, k: relation_from_lse(q, k, lse, t), query, target, m.branch)
            for target in targets
        ]
        return torch.stack(terms).mean()

    @staticmethod
    def _views(m: Mixed, out: Out) -> list[int]:
        """View 2 unless the user asks for both: ``target_views`` says so of "pair"."""
        return target_views(m.branch, "pair", len(out["momentum_z"]))

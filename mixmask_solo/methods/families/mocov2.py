# SPDX-License-Identifier: MIT
r"""Official MoCo: mixed queries against the keys of its one or two directions, and one queue.

With the mixture built from view 1, partner π and own share λ, and all terms on one queue:

- asymmetric: λ·NCE(q^m, k²) + (1−λ)·NCE(q^m, k²_π), the published ImageNet form;
- symmetric: that plus the same against k¹, a *sum*, as in Un-Mix's CIFAR code. The keys of view 1
  belong to the very crops that the mixture is made of. ``targets: other`` keeps k² alone.

The un-mixed terms keep weight 1 each, as there.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, ClassVar

import torch
from torch import Tensor

from mixmask_solo.methods.families.base import Mixed, Out, target_views
from mixmask_solo.methods.families.moco import mirror_term, query_term
from mixmask_solo.objectives import queue_lse

__all__ = ["MoCoV2Family"]


class MoCoV2Family:
    """Clean and mixed queries share one streamed product with the queue.

    ``pairing: pair`` (extension, symmetric only): both directions between view 2 and the mixed
    images, which then pass through the key encoder too; their keys never enter the queue.
    """

    pairing: ClassVar[str] = "query"

    def losses(self, method: Any, out: Out, mixed: Sequence[Mixed]) -> list[Tensor]:
        """See :class:`Family`; leaves ``out["queue_lse"]`` and ``out["mixed_keys"]``."""
        queries, t = out["z"], method.temperature
        n, views = len(queries[0]), len(queries)
        rows = torch.cat([*queries, *(m.out["z"] for m in mixed)])
        lse = queue_lse(rows, method.queue, t).split(n)
        out["queue_lse"] = lse[:views]
        # Without the symmetric form the only keys are those of view 2, and `both` is refused.
        targets = [
            target_views(m.branch, m.branch.pairing or self.pairing, 2) if views == 2 else [0]
            for m in mixed
        ]
        out["mixed_keys"] = targets
        of_mixed = zip(mixed, targets, lse[views:], strict=True)
        return [self._loss(out, m, met, own, lse, t) for m, met, own in of_mixed]

    def _loss(
        self,
        out: Out,
        m: Mixed,
        targets: Sequence[int],
        own: Tensor,
        clean: Sequence[Tensor],
        temperature: float,
    ) -> Tensor:
        queries, keys = out["z"], out["momentum_z"]
        terms = [query_term(m, keys[v], own, temperature) for v in targets]
        if (m.branch.pairing or self.pairing) == "pair":
            z = m.momentum()
            terms += [mirror_term(m, queries[v], z, clean[v], temperature) for v in targets]
        return torch.stack(terms).sum()

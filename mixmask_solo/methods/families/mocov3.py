# SPDX-License-Identifier: MIT
r"""MoCo v3 with mixtures: queries against in-batch keys, soft labels over one logit matrix.

**What.** The host's loss is the sum of two directions of :math:`2T\,\ell(q_i, k_i)`, cross entropy
over the keys of all processes' batches. A mixture's query predicts the momentum keys of both
un-mixed views, each of its two sources with its share:

.. math:: L_\text{mix} = 2T \sum_v \tfrac1N \sum_i
   \lambda_i\,\ell(q^m_i, k^v_i) + (1-\lambda_i)\,\ell(q^m_i, k^v_{\pi(i)})

Since the second source's key is in the batch too, both terms share one denominator: it is one
soft-label cross entropy, and each source stays among the negatives of the other (as in SimCLR's).

**Published.** Nothing for MoCo v3: MixMask and Un-Mix treat MoCo v1/v2 with a queue. All of this
is an extension: paper's Eq. 6 on this method's pair loss. ``pairing: pair`` (extension) is the
complete two-view loss of view 2 and the mixture, Un-Mix's general formula: it adds un-mixed queries
against the momentum keys of the mixed images.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, ClassVar, Literal

import torch
from torch import Tensor

from mixmask_solo.methods.families.base import Mixed, Out, target_views
from mixmask_solo.objectives import soft_in_batch_nce

__all__ = ["MoCoV3Family"]


class MoCoV3Family:
    """2T · in-batch InfoNCE, summed over views as the host sums its directions."""

    pairing: ClassVar[str] = "query"

    def losses(self, method: Any, out: Out, mixed: Sequence[Mixed]) -> list[Tensor]:
        """See :class:`Family`."""
        return [self._loss(method, out, m) for m in mixed]

    def _loss(self, method: Any, out: Out, m: Mixed) -> Tensor:
        pairing = m.branch.pairing or self.pairing
        views = target_views(m.branch, pairing, len(out["momentum_k"]))
        pairs: list[tuple[Tensor, Tensor, Literal["anchor", "candidate"]]]
        pairs = [(m.out["q"], out["momentum_k"][v], "anchor") for v in views]
        if pairing == "pair":
            # The host calls its keys k; Mixed.momentum asks for z.
            key = method.momentum_forward(m.branch.mixture.images)["k"]
            pairs += [(out["q"][v], key, "candidate") for v in views]
        _, lam, partner = m.branch.mixture
        terms = [
            soft_in_batch_nce(
                *(query, key, lam, partner, method.temperature),
                mixed=side,
                switch=m.branch.switch,
            ).mean()
            for query, key, side in pairs
        ]
        return 2 * method.temperature * torch.stack(terms).sum()

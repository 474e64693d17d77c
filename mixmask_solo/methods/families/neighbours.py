# SPDX-License-Identifier: MIT
r"""NNCLR, NNBYOL and NNSiam with mixtures: the targets are neighbours of the un-mixed views.

**What.** These methods replace an embedding by its nearest neighbour in a queue, :math:`n(z)`. A
mixture only predicts: its prediction :math:`p^m_i` is compared with the neighbours that the host
finds for both un-mixed views of its two sources,

.. math:: L_\text{mix} = \operatorname{red}_v \tfrac1N \sum_i
   \lambda_i\,\ell(p^m_i, n(z^v_i)) + (1-\lambda_i)\,\ell(p^m_i, n(z^v_{\pi(i)}))

with the method's own ℓ and reduction over directions: NNBYOL 2 − 2·cos, summed; NNSiam −cos,
averaged; NNCLR averaged, its ℓ a cross entropy whose *anchor* is the neighbour and whose
candidates are the predictions of all processes, so mixtures are its candidates, and re-ordering
them changes no denominator.

Neighbours are looked up with the host's own ``find_nn``, before its step moves the queue and
without any random draw: the same ones its own loss uses (NNBYOL: of momentum projections).

**Published.** Nothing: neither MixMask nor Un-Mix treats these methods. All of it is an extension.
``pairing: pair`` is refused: there a mixture would *be* a target, but its one nearest neighbour
resembles one source at most, so that "weighed by its share" means nothing for the other.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, ClassVar

import torch
from torch import Tensor

from mixmask_solo.methods.families.base import Mixed, Out, target_views
from mixmask_solo.methods.families.cosine import BYOLFamily, SimSiamFamily
from mixmask_solo.objectives import soft_in_batch_nce

__all__ = ["NNBYOLFamily", "NNCLRFamily", "NNSiamFamily"]


def _neighbours(method: Any, z: Sequence[Tensor]) -> list[Tensor]:
    """``(N, D)`` of each view: rows of the queue as it is before this step, as copies."""
    return [method.find_nn(view)[1] for view in z]


class NNBYOLFamily(BYOLFamily):
    """BYOL's loss, the targets replaced by their neighbours."""

    pairing: ClassVar[str] = "query"

    def targets(self, method: Any, out: Out) -> list[Tensor]:
        """Neighbours of the momentum projections."""
        return _neighbours(method, out["momentum_z"])


class NNSiamFamily(SimSiamFamily):
    """SimSiam's loss, the targets replaced by their neighbours."""

    pairing: ClassVar[str] = "query"

    def targets(self, method: Any, out: Out) -> list[Tensor]:
        """Neighbours of the projections."""
        return _neighbours(method, out["z"])


class NNCLRFamily:
    """Cross entropy of neighbours over the batch's predictions, averaged over views."""

    pairing: ClassVar[str] = "query"

    def losses(self, method: Any, out: Out, mixed: Sequence[Mixed]) -> list[Tensor]:
        """See :class:`Family`."""
        neighbours = _neighbours(method, out["z"])
        return [self._loss(neighbours, m, method.temperature) for m in mixed]

    def _loss(self, neighbours: list[Tensor], m: Mixed, temperature: float) -> Tensor:
        _, lam, partner = m.branch.mixture
        views = target_views(m.branch, self.pairing, len(neighbours))
        terms = [
            soft_in_batch_nce(
                *(neighbours[v], m.out["p"], lam, partner, temperature),
                mixed="candidate",
                switch=m.branch.switch,
            ).mean()
            for v in views
        ]
        return torch.stack(terms).mean()

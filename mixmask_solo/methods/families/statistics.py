# SPDX-License-Identifier: MIT
r"""Barlow Twins and VICReg with mixtures: losses on statistics of the batch.

No image predicts another here, so there is nothing for ``pairing: query`` to mean: it is refused.
``pair`` is Un-Mix's general formula, its README's, with L the complete two-view loss and view 2 the
un-mixed side,

.. math:: L_\text{mix} = \lambda\,L(z^2, z^m) + (1-\lambda)\,L(z^2_\pi, z^m)

where re-ordering z² by π equals re-ordering the mixtures by its inverse, since no order of the
pairs changes L. *Published* is that formula in words, for any method; no code or figure for these
two: an extension. ``targets: both`` (extension) averages over both un-mixed views.

**Barlow Twins.** L is not a mean over images: one λ weighs whole cross-correlation matrices. λ per
sample is refused, since a matrix of λ-weighted rows would be another loss. With several processes
each has its own λ, as everywhere, while correlations are averaged over all.

**VICReg.** Variance and covariance do not depend on the order of rows: they are the same in both
terms and add up to weight λ + (1 − λ) = 1. What is left, the invariance, *is* a mean over images.
So λ per sample is exact:

.. math:: L_\text{mix} = s \cdot \tfrac1N \sum_i \lambda_i\,d(z^2_i, z^m_i)
   + (1-\lambda_i)\,d(z^2_{\pi(i)}, z^m_i) + v\,[V(z^2) + V(z^m)] + c\,[C(z^2) + C(z^m)]

``switch: false`` drops the whole second term, so V and C are then weighed by the mean λ.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, ClassVar

import torch
from torch import Tensor

from mixmask_solo.methods.families.base import Mixed, Out, soft_pair, target_views
from mixmask_solo.objectives import barlow_twins, covariance, invariance, variance

__all__ = ["BarlowTwinsFamily", "StatisticsFamily", "VICRegFamily"]


class StatisticsFamily:
    """A loss between whole batches, averaged over the views asked for."""

    pairing: ClassVar[str] = "pair"

    def batch_loss(self, method: Any, u: Tensor, m: Mixed) -> Tensor:
        raise NotImplementedError

    def losses(self, method: Any, out: Out, mixed: Sequence[Mixed]) -> list[Tensor]:
        """See :class:`Family`."""
        return [self._loss(method, out["z"], m) for m in mixed]

    def _loss(self, method: Any, z: list[Tensor], m: Mixed) -> Tensor:
        views = target_views(m.branch, self.pairing, len(z))
        return torch.stack([self.batch_loss(method, z[v], m) for v in views]).mean()


class BarlowTwinsFamily(StatisticsFamily):
    """Cross-correlation against the identity, one λ a batch."""

    def batch_loss(self, method: Any, u: Tensor, m: Mixed) -> Tensor:
        """λ-weighted loss of an un-mixed view ``u (N, D)`` and the mixtures."""
        _, lam, partner = m.branch.mixture
        v, options = m.out["z"], (method.lamb, method.scale_loss)
        own = lam[0] * barlow_twins(u, v, *options)
        if not m.branch.switch:
            return own
        return own + (1.0 - lam[0]) * barlow_twins(u[partner], v, *options)


class VICRegFamily(StatisticsFamily):
    """Invariance by image, variance and covariance of the batch."""

    def batch_loss(self, method: Any, u: Tensor, m: Mixed) -> Tensor:
        """λ-weighted loss of an un-mixed view ``u (N, D)`` and the mixtures."""
        v = m.out["z"]
        similar = soft_pair(lambda p, t: invariance(t, p), v, u, m.branch)
        spread = method.var_loss_weight * (variance(u) + variance(v))
        spread = spread + method.cov_loss_weight * (covariance(u) + covariance(v))
        if not m.branch.switch:
            spread = m.branch.mixture.lam.mean() * spread
        return method.sim_loss_weight * similar + spread

# SPDX-License-Identifier: MIT
r"""Barlow Twins and VICReg: losses on statistics of the batch.

No image predicts another here, so there is nothing for ``pairing: query`` to mean: it is refused.
``pair`` is Un-Mix's general formula, with L the complete two-view loss and view 2 the un-mixed
side: :math:`L_\text{mix} = \lambda\,L(z^2, z^m) + (1-\lambda)\,L(z^2_\pi, z^m)`, where re-ordering
z² by π equals re-ordering the mixtures by its inverse, since no order of the pairs changes L.
*Published* is that formula in words, for any method; no code or figure for these two: an extension.

**Barlow Twins.** L is not a mean over images: one λ weighs whole cross-correlation matrices. λ per
sample is refused, since a matrix of λ-weighted rows would be another loss. With several processes
each has its own λ, as everywhere, while correlations are averaged over all.

**VICReg.** Variance and covariance do not depend on the order of rows: they are the same in all
terms and add up to the sources' whole weight, 1 unless ``switch`` is false. What is left, the
invariance, *is* a mean over images, so λ per sample is exact.
"""

from collections.abc import Sequence

import torch
from torch import Tensor

from mixmask_solo.methods.families.base import Family, Forwarded
from mixmask_solo.objectives import barlow_twins, covariance, invariance, variance, weigh


class _Statistics(Family):
    pairing = "pair"
    complete = True

    def view_targets(self) -> Sequence[Tensor]:
        z: Sequence[Tensor] = self.out["z"]
        return z


class BarlowTwinsFamily(_Statistics):
    """Cross-correlation against the identity, one λ a batch."""

    def predict(self, b: Forwarded, v: int) -> Tensor:
        options = self.method.lamb, self.method.scale_loss
        return weigh(
            lambda z, u: barlow_twins(u, z, *options), b.out["z"], self.targets[v], b.branch.sources
        )


class VICRegFamily(_Statistics):
    """Invariance by image, variance and covariance of the batch."""

    def predict(self, b: Forwarded, v: int) -> Tensor:
        method, z, u = self.method, b.out["z"], self.targets[v]
        similar = weigh(invariance, z, u, b.branch.sources)
        spread = method.var_loss_weight * (variance(u) + variance(z))
        spread = spread + method.cov_loss_weight * (covariance(u) + covariance(z))
        whole = torch.stack([weight for _, weight in b.branch.sources]).sum(0).mean()
        return method.sim_loss_weight * similar + whole * spread

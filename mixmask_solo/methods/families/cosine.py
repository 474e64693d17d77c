# SPDX-License-Identifier: MIT
r"""BYOL and SimSiam: a predictor against targets without gradient.

With D(a, b) the distance of a prediction from a target, ``pair`` is the default: the method's own
loss of two views, once more between view 2 and the mixture, by shares,

.. math:: \operatorname{red} \Bigl\{ \tfrac1N \sum_i
   \lambda_i D(p^m_i, t^2_i) + (1-\lambda_i) D(p^m_i, t^2_{\pi(i)}),\quad \tfrac1N \sum_i
   \lambda_i D(p^2_i, t^m_i) + (1-\lambda_i) D(p^2_{\pi(i)}, t^m_i) \Bigr\}

where red is the method's reduction of its directions: BYOL's sum, SimSiam's mean. *Published in
words*: Un-Mix's README states the mixture for any framework with the framework's whole loss of two
views, of view 2 and the mixtures of view 1, in either order, weighed λ and 1 − λ; its author says
the same when asked about other frameworks, and the one symmetric framework it has code for (SwAV)
has both directions. No code or formula exists for these two. ``query``, the first direction alone,
is MixMask's Eq. 6 carried over from MoCo.

**Passes.** The mixture passes the online network once (view 2's outputs are those of the clean
loss, where three literal calls of the loss would forward it again). BYOL's target network forwards
it too, without gradient; all of these passes are in training mode, so that a batch of mixtures
enters the running statistics of BatchNorm of either network, after the views; with ``query`` the
target network's see clean images only.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, ClassVar

import torch
from torch import Tensor

from mixmask_solo.methods.families.base import Mixed, Out, soft_pair, target_views
from mixmask_solo.objectives import byol, simsiam

__all__ = ["BYOLFamily", "CosineFamily", "SimSiamFamily"]


class CosineFamily:
    """BYOL and SimSiam: a predictor, and targets without gradient."""

    pairing: ClassVar[str] = "pair"
    average: ClassVar[bool]  # the host averages (SimSiam) or sums (BYOL) its two directions

    @staticmethod
    def pair_loss(p: Tensor, z: Tensor) -> Tensor:
        raise NotImplementedError

    def targets(self, method: Any, out: Out) -> list[Tensor]:
        raise NotImplementedError

    def mixed_target(self, mixed: Mixed) -> Tensor:
        raise NotImplementedError

    def losses(self, method: Any, out: Out, mixed: Sequence[Mixed]) -> list[Tensor]:
        """See :class:`Family`."""
        return [self._loss(out, self.targets(method, out), m) for m in mixed]

    def _loss(self, out: Out, targets: list[Tensor], mixed: Mixed) -> Tensor:
        branch, loss = mixed.branch, self.pair_loss
        pairing = branch.pairing or self.pairing
        views = target_views(branch, pairing, len(targets))
        terms = [soft_pair(loss, mixed.out["p"], targets[v], branch) for v in views]
        if pairing == "pair":
            # The mirror direction: un-mixed views predict the mixed image. Its own source is view
            # i, its second source view partner(i), so here the *predictions* are permuted.
            z = self.mixed_target(mixed)
            terms += [soft_pair(lambda t, p: loss(p, t), z, out["p"][v], branch) for v in views]
        total = torch.stack(terms).sum()
        return total / len(terms) if self.average else total


class BYOLFamily(CosineFamily):
    """2 − 2·cos(prediction, momentum projection), summed over views as BYOL sums directions."""

    pair_loss = staticmethod(byol)
    average = False

    def targets(self, method: Any, out: Out) -> list[Tensor]:
        """Momentum projections of the large crops."""
        return list(out["momentum_z"])

    def mixed_target(self, mixed: Mixed) -> Tensor:
        """The momentum network's projection of the mixed images."""
        return mixed.momentum()


class SimSiamFamily(CosineFamily):
    """−cos(prediction, projection without gradient), averaged over views as SimSiam does."""

    pair_loss = staticmethod(simsiam)
    average = True

    def targets(self, method: Any, out: Out) -> list[Tensor]:
        """Projections of the large crops; ``simsiam`` stops their gradient."""
        return list(out["z"][: method.num_large_crops])

    def mixed_target(self, mixed: Mixed) -> Tensor:
        """The projection of the mixed images."""
        z: Tensor = mixed.out["z"]
        return z

# SPDX-License-Identifier: MIT
r"""Families without negatives: each image predicts its own target, or a batch's statistics count.

``pair`` adds to the direction that Eq. 6 has (mixtures predict view 2) its mirror image, view 2
predicting the mixtures: :math:`\lambda_i\,\ell(p^2_i, t^m_i) + (1-\lambda_i)\,\ell(p^2_{\pi(i)},
t^m_i)`. Mixtures pass the online network once. All passes are in training mode: a batch of mixtures
enters the running statistics of each network that forwards it, after the views.

**BYOL, SimSiam.** ``pair`` is the default, *published in words*: Un-Mix's README states the mixture
for any framework with the framework's whole loss of two views, of view 2 and the mixtures of view
1, in either order, weighed λ and 1 − λ; its author says the same when asked about other frameworks.
No code or formula exists. ``query`` is MixMask's Eq. 6 carried over from MoCo: then the target
network's statistics see clean images only.

**SwAV.** Targets are Sinkhorn codes. Those of un-mixed views are computed again by the host's
``get_assignments``, before its step moves the queue: bit for bit the codes of its own loss. Codes
of mixtures are balanced over the mixed batch, joined by the queue of the view they are made from.
*Published*: Un-Mix's code, both directions, hence ``pair`` is the default. *Differs from it*: its
re-ordered pass flips the mixtures' codes alone, so that un-flipped mixtures predict the un-flipped
codes of view 2 and one direction never sees the partner; here both do. It also pushes mixtures
into the queue and mixes small crops; neither is done here.

**DINO.** The teacher's centred and sharpened outputs for the large crops, at the epoch's
temperature; mixtures read the centre and never move it. All of it is an extension.

**NNBYOL, NNSiam.** Targets are the nearest neighbours that the host's ``find_nn`` gives for the
views, before its step moves the queue: those of its own loss. All of it is an extension. ``pair``
is refused: a mixture's one nearest neighbour resembles one of its sources at most.

**ReSSL.** Compared are relations to a queue of past keys, one direction only: the query of view 1
follows the momentum key of the weakly augmented view 2, and so does a mixture. Cross entropy is
linear in its target, so this is the loss against the λ-weighted mean of both sources' relations. An
extension; ``targets: both`` averages over the keys of both views, ``pair`` is refused.

**Barlow Twins, VICReg.** No image predicts another, so ``query`` means nothing and is refused.
``pair`` is Un-Mix's general formula, with L the complete two-view loss and view 2 the un-mixed
side: :math:`L_\text{mix} = \lambda\,L(z^2, z^m) + (1-\lambda)\,L(z^2_\pi, z^m)`, where re-ordering
z² by π equals re-ordering the mixtures by its inverse, since no order of the pairs changes L.
*Published* is that formula in words, for any method; no code or figure for these two: an extension.
Barlow Twins' L is not a mean over images: one λ weighs whole cross-correlation matrices. λ per
sample is refused, since a matrix of λ-weighted rows would be another loss. With several processes
each has its own λ, as everywhere, while correlations are averaged over all. VICReg's variance and
covariance are the same in all terms and add up to the sources' whole weight, 1 unless ``switch`` is
false. What is left, the invariance, *is* a mean over images, so λ per sample is exact.
"""

from collections.abc import Sequence
from functools import cache
from typing import Any, ClassVar

import torch
from torch import Tensor

from mixmask_solo.methods.families.base import Family, Forwarded, NeighbourFamily, Out
from mixmask_solo.objectives import non_contrastive as objective
from mixmask_solo.objectives import queue_lse, weigh


class _Predicting(Family):
    predictor: ClassVar[str] = "p"  # the online output that predicts

    def pair_loss(self, prediction: Tensor, target: Tensor) -> Tensor:
        """Of distributions, unless a method has vectors."""
        return objective.cross_entropy(prediction, target)

    def prediction(self, x: Tensor) -> Tensor:
        """What ``pair_loss`` takes, from the online output."""
        return x

    def __init__(self, method: Any, out: Out, branches: Sequence[Forwarded]) -> None:
        super().__init__(method, out, branches)
        # Once for all views and sources.
        self.own = cache(lambda b: self.prediction(b.out[self.predictor]))

    def predict(self, b: Forwarded, v: int) -> Tensor:
        return weigh(self.pair_loss, self.own(b), self.targets[v], b.branch.sources)

    def mirror(self, b: Forwarded, v: int, target: Tensor) -> Tensor:
        loss, predictions = self.pair_loss, self.prediction(self.out[self.predictor][v])
        return weigh(lambda t, p: loss(p, t), target, predictions, b.branch.sources)


class BYOLFamily(_Predicting):
    """2 − 2·cos(prediction, momentum projection), summed as BYOL sums its directions."""

    pairing = "pair"

    def pair_loss(self, prediction: Tensor, target: Tensor) -> Tensor:
        return objective.byol(prediction, target)

    def reduce(self, terms: Tensor) -> Tensor:
        return terms.sum()


class SimSiamFamily(_Predicting):
    """−cos(prediction, projection without gradient), averaged as SimSiam does."""

    pairing = "pair"
    predicted = "z"

    def pair_loss(self, prediction: Tensor, target: Tensor) -> Tensor:
        return objective.simsiam(prediction, target)


class SwAVFamily(_Predicting):
    """Swapped prediction of Sinkhorn codes, averaged."""

    pairing = "pair"
    predicted = "p"

    def prediction(self, x: Tensor) -> Tensor:
        return objective.log_probabilities(x, float(self.method.temperature))

    def view_targets(self) -> Sequence[Tensor]:
        return self._codes(super().view_targets())

    def own_target(self, b: Forwarded) -> Tensor:
        # The host has a queue for each view and takes them in turn.
        return self._codes([b.out["p"]] * (b.branch.view + 1))[-1]

    def _codes(self, logits: Sequence[Tensor]) -> list[Tensor]:
        codes: list[Tensor] = self.method.get_assignments(logits)
        return codes


class DINOFamily(_Predicting):
    """Self-distillation against the centred, sharpened teacher, averaged."""

    predictor = "z"

    def prediction(self, x: Tensor) -> Tensor:
        return objective.log_probabilities(x, float(self.method.dino_loss_func.student_temp))

    def view_targets(self) -> Sequence[Tensor]:
        return [self._teacher(z) for z in super().view_targets()]

    def own_target(self, b: Forwarded) -> Tensor:
        return self._teacher(b.momentum())

    def _teacher(self, z: Tensor) -> Tensor:
        loss = self.method.dino_loss_func
        return objective.sharpened(z, loss.center, float(loss.teacher_temp_schedule[loss.epoch]))


class NNBYOLFamily(NeighbourFamily, BYOLFamily):
    """BYOL's loss, the targets replaced by the neighbours of the momentum projections."""

    pairing = "query"


class NNSiamFamily(NeighbourFamily, SimSiamFamily):
    """SimSiam's loss, the targets replaced by the neighbours of the projections."""

    pairing = "query"
    predicted = "z"


class ReSSLFamily(Family):
    """Cross entropy of relations to the queue, averaged over the views asked for."""

    only_other = True

    def view_targets(self) -> Sequence[Any]:
        """A call for each view: a relation costs a product with the whole queue."""
        queue, t = self.method.queue, self.method.temperature_k
        return [
            cache(lambda key=key: objective.relation_target(key, queue, t))
            for key in super().view_targets()
        ]

    def predict(self, b: Forwarded, v: int) -> Tensor:
        query, t = b.out["z"], self.method.temperature_q
        lse = queue_lse(query, self.method.queue.T, t)
        target: Tensor = self.targets[v]()  # type: ignore[operator]
        return weigh(
            lambda q, k: objective.relation_from_lse(q, k, lse, t), query, target, b.branch.sources
        )


class _Statistics(Family):
    pairing = "pair"
    complete = True
    predicted = "z"


class BarlowTwinsFamily(_Statistics):
    """Cross-correlation against the identity, one λ a batch."""

    def predict(self, b: Forwarded, v: int) -> Tensor:
        options = self.method.lamb, self.method.scale_loss
        return weigh(
            lambda z, u: objective.barlow_twins(u, z, *options),
            b.out["z"],
            self.targets[v],
            b.branch.sources,
        )


class VICRegFamily(_Statistics):
    """Invariance by image, variance and covariance of the batch."""

    def predict(self, b: Forwarded, v: int) -> Tensor:
        method, z, u = self.method, b.out["z"], self.targets[v]
        similar = weigh(objective.invariance, z, u, b.branch.sources)
        spread = method.var_loss_weight * (objective.variance(u) + objective.variance(z))
        spread = spread + method.cov_loss_weight * (
            objective.covariance(u) + objective.covariance(z)
        )
        whole = torch.stack([weight for _, weight in b.branch.sources]).sum(0).mean()
        return method.sim_loss_weight * similar + whole * spread

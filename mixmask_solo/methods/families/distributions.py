# SPDX-License-Identifier: MIT
r"""SwAV and DINO with mixtures: a predicted distribution against one without gradient.

Both score images against prototypes and ask one view to predict the distribution of another. With
ℓ(p, t) the cross entropy of prediction p and target t, a mixture predicts those of its two sources

.. math:: \tfrac1N \sum_i
   \lambda_i\,\ell(p^m_i, t^v_i) + (1-\lambda_i)\,\ell(p^m_i, t^v_{\pi(i)})

(``query``), and ``pair`` adds the mirror image, un-mixed views predicting the mixture's own
distribution: :math:`\lambda_i\,\ell(p^v_i, t^m_i) + (1-\lambda_i)\,\ell(p^v_{\pi(i)}, t^m_i)`. The
terms are averaged, as both hosts average theirs.

**SwAV.** ℓ's temperature is ``temperature``; targets are Sinkhorn codes. Those of un-mixed views
are computed again by the host's own ``get_assignments``, before its step moves the queue: the same
batch, the same queue where it is in use (from ``epoch_queue_starts`` on), no random draw, hence
bit for bit the codes of its own loss. Codes of mixtures are balanced over the mixed batch, joined
by view 1's queue, since mixtures are made from view 1. No mixture enters a queue.
*Published*: Un-Mix's SwAV code, both directions between the mixture and view 2, hence ``pair`` is
the default here. *Differs from it*: in its re-ordered pass only the mixture's codes are flipped,
while un-flipped mixtures predict the un-flipped codes of view 2, so that this direction trains on
the own source with weight 1 and never sees the partner; here both directions do. It also pushes
mixtures into the queue, three pushes a step, and mixes small crops; neither is done here.
``query`` and ``targets: both`` are extensions.

**DINO.** Student's ``student_temperature``; targets are the teacher's centred and sharpened outputs
for the large crops, at the epoch's teacher temperature. The centre is read, never moved, by
mixtures. *Published*: nothing, all of it is an extension; ``query`` is the default.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, ClassVar

import torch
from torch import Tensor

from mixmask_solo.methods.families.base import Mixed, Out, soft_pair, target_views
from mixmask_solo.objectives import cross_entropy, log_probabilities, sharpened

__all__ = ["DINOFamily", "DistributionFamily", "SwAVFamily"]


class DistributionFamily:
    """What SwAV and DINO share; a subclass says where logits and targets come from."""

    pairing: ClassVar[str]
    logits: ClassVar[str]  # the online output's key

    def temperature(self, method: Any) -> float:
        raise NotImplementedError

    def targets(self, method: Any, out: Out) -> list[Tensor]:
        raise NotImplementedError

    def mixed_target(self, method: Any, mixed: Mixed) -> Tensor:
        raise NotImplementedError

    def losses(self, method: Any, out: Out, mixed: Sequence[Mixed]) -> list[Tensor]:
        """See :class:`Family`."""
        targets = self.targets(method, out)
        return [self._loss(method, out, targets, m) for m in mixed]

    def _loss(self, method: Any, out: Out, targets: list[Tensor], m: Mixed) -> Tensor:
        branch, t = m.branch, self.temperature(method)
        pairing = branch.pairing or self.pairing
        views = target_views(branch, pairing, len(targets))
        log_p = log_probabilities(m.out[self.logits], t)
        terms = [soft_pair(cross_entropy, log_p, targets[v], branch) for v in views]
        if pairing == "pair":
            own = self.mixed_target(method, m)
            of_views = [log_probabilities(out[self.logits][v], t) for v in views]
            # Here the sources predict, so it is the predictions that are permuted.
            terms += [soft_pair(lambda t, p: cross_entropy(p, t), own, p, branch) for p in of_views]
        return torch.stack(terms).mean()


class SwAVFamily(DistributionFamily):
    """Swapped prediction of Sinkhorn codes (see the module's card)."""

    pairing = "pair"
    logits = "p"

    def temperature(self, method: Any) -> float:
        """Of the predictions."""
        return float(method.temperature)

    def targets(self, method: Any, out: Out) -> list[Tensor]:
        """``(N, K)`` codes of each large crop, as the host is about to compute them."""
        codes: list[Tensor] = method.get_assignments(out["p"][: method.num_large_crops])
        return codes

    def mixed_target(self, method: Any, mixed: Mixed) -> Tensor:
        """``(N, K)`` codes of the mixtures; the host takes the first queue, view 1's."""
        code: Tensor = method.get_assignments([mixed.out["p"]])[0]
        return code


class DINOFamily(DistributionFamily):
    """Self-distillation against the centred, sharpened teacher (see the module's card)."""

    pairing = "query"
    logits = "z"

    def temperature(self, method: Any) -> float:
        """The student's."""
        return float(method.dino_loss_func.student_temp)

    def targets(self, method: Any, out: Out) -> list[Tensor]:
        """``(N, K)`` teacher distributions of each large crop."""
        return [_teacher(method, z) for z in out["momentum_z"]]

    def mixed_target(self, method: Any, mixed: Mixed) -> Tensor:
        """``(N, K)`` teacher distribution of the mixtures."""
        return _teacher(method, mixed.momentum())


def _teacher(method: Any, z: Tensor) -> Tensor:
    loss = method.dino_loss_func
    return sharpened(z, loss.center, float(loss.teacher_temp_schedule[loss.epoch]))

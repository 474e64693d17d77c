# SPDX-License-Identifier: MIT
r"""The mixture loss of each method family: what predicts, what is predicted, how it is summed.

All families weigh two pair losses by the own share, :math:`\lambda_i\,\ell(\text{pred}_i, t_i) +
(1-\lambda_i)\,\ell(\text{pred}_i, t_{\pi(i)})` (paper, Eq. 6), against the *one* forward pass of
the mixed images. They differ in ℓ, in the targets, and in the reduction over the un-mixed views,
which follows the host's own loss, so that mixed and clean terms keep the published 1 : 1.

``pairing: query`` is Eq. 6: mixed images only predict. ``pairing: pair`` is the family's complete
two-view loss between an un-mixed view and the mixed one, as Un-Mix's README words it. Only MoCo's
query form is published as code; the others are the two natural readings of the text.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any, ClassVar, NamedTuple, Protocol

import torch
from torch import Tensor

from mixmask_solo.objectives import (
    byol,
    info_nce_from_lse,
    queue_lse,
    simsiam,
    soft,
    soft_nt_xent,
)
from mixmask_solo.strategies import Branch

__all__ = ["FAMILIES", "BYOLFamily", "Family", "MoCoFamily", "SimCLRFamily", "SimSiamFamily"]

PairLoss = Callable[[Tensor, Tensor], Tensor]
Out = dict[str, Any]


class Mixed(NamedTuple):
    """A branch, the online output of its images, and those images' momentum output if needed."""

    branch: Branch
    out: Out
    momentum: Callable[[], Tensor]


class Family(Protocol):
    """How one method turns mixed outputs into losses."""

    pairing: ClassVar[str]

    def losses(self, method: Any, out: Out, mixed: Sequence[Mixed]) -> list[Tensor]:
        """One scalar per branch, unweighted by ``branch.weight``.

        Args:
            method: the host's method, for its queue and temperature.
            out: what the host's base class returned for the views, per view; may be added to.
            mixed: the branches with their outputs.
        """


def target_views(branch: Branch, pairing: str, n_views: int) -> list[int]:
    """Indexes of the un-mixed views a branch is compared with; view 0 is the mixed one."""
    targets = branch.targets or ("both" if pairing == "query" else "other")
    return list(range(n_views)) if targets == "both" else list(range(1, n_views))


def soft_pair(loss: PairLoss, pred: Tensor, target: Tensor, branch: Branch) -> Tensor:
    """λ-weighted mean of ``loss(pred_i, target_i)`` and ``loss(pred_i, target_partner(i))``."""
    _, lam, partner = branch.mixture
    own = loss(pred, target)
    if not branch.switch:
        return (lam * own).mean()
    return soft(own, loss(pred, target[partner]), lam).mean()


class _CosineFamily:
    """BYOL and SimSiam: a predictor, and targets without gradient."""

    pairing: ClassVar[str] = "query"
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


class BYOLFamily(_CosineFamily):
    """2 − 2·cos(prediction, momentum projection), summed over views as BYOL sums directions."""

    pair_loss = staticmethod(byol)
    average = False

    def targets(self, method: Any, out: Out) -> list[Tensor]:
        """Momentum projections of the large crops."""
        return list(out["momentum_z"])

    def mixed_target(self, mixed: Mixed) -> Tensor:
        """The momentum network's projection of the mixed images."""
        return mixed.momentum()


class SimSiamFamily(_CosineFamily):
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
            terms = [self._query(m, keys[v], rows[v], t) for v in views]
            if pairing == "pair":
                z = m.momentum()
                # View v as query meets queue 1 - v, which holds keys of the other view.
                terms += [self._mirror(m, q[v], z, clean[1 - v], t) for v in views]
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

    @staticmethod
    def _query(m: Mixed, key: Tensor, lse: Tensor, temperature: float) -> Tensor:
        return soft_pair(
            lambda q, k: info_nce_from_lse(q, k, lse, temperature), m.out["z"], key, m.branch
        )

    @staticmethod
    def _mirror(m: Mixed, q: Tensor, z: Tensor, lse: Tensor, temperature: float) -> Tensor:
        """Un-mixed queries against the mixed images' keys (extension)."""
        _, lam, partner = m.branch.mixture
        own = info_nce_from_lse(q, z, lse, temperature)
        if not m.branch.switch:
            return (lam * own).mean()
        return soft(own, info_nce_from_lse(q[partner], z, lse[partner], temperature), lam).mean()


class SimCLRFamily:
    """NT-Xent between an un-mixed view and the mixed one, as one soft-label cross-entropy.

    ``pair`` is the default and what Un-Mix publishes in words: λ·NTX(z², z^m) + (1−λ)·NTX(z²,
    z^m re-ordered), computed from one logit matrix. ``query`` keeps only the mixed rows as
    anchors (extension). The second source stays among the negatives of the first term, as there.
    """

    pairing: ClassVar[str] = "pair"

    def losses(self, method: Any, out: Out, mixed: Sequence[Mixed]) -> list[Tensor]:
        """See :class:`Family`."""
        return [self._loss(method, out, m) for m in mixed]

    def _loss(self, method: Any, out: Out, m: Mixed) -> Tensor:
        pairing = m.branch.pairing or self.pairing
        # Un-Mix pairs the mixture with view 2 alone, in either reading, unless asked otherwise.
        views = target_views(m.branch, "pair", method.num_large_crops)
        terms = [
            soft_nt_xent(
                out["z"][v],
                m.out["z"],
                m.branch.mixture.lam,
                m.branch.mixture.partner,
                method.temperature,
                query_only=pairing == "query",
                switch=m.branch.switch,
            )
            for v in views
        ]
        return torch.stack(terms).mean()


FAMILIES: dict[str, Family] = {
    "byol": BYOLFamily(),
    "mocov2plus": MoCoFamily(),
    "simclr": SimCLRFamily(),
    "simsiam": SimSiamFamily(),
}

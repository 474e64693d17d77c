# SPDX-License-Identifier: MIT
r"""SimCLR's NT-Xent: as a loss of two views, of any number of views, and with soft labels.

For anchors a, with T the temperature and unit vectors throughout,
:math:`\ell(a, b) = \log\sum_{c \neq a} e^{\langle a, c\rangle / T} - \langle a, b\rangle / T`,
where c runs over all embeddings of both sets, of all processes.
"""

from __future__ import annotations

import torch
import torch.nn.functional as F
from torch import Tensor

from mixmask_solo.objectives.distributed import gather, gather_keys, rank
from mixmask_solo.objectives.precision import full_precision
from mixmask_solo.objectives.soft import soft

__all__ = ["nt_xent", "simclr", "soft_nt_xent"]


@full_precision
def nt_xent(z1: Tensor, z2: Tensor, temperature: float) -> Tensor:
    """Two-view NT-Xent, the mean of both directions of each pair.

    Args:
        z1: ``(N, D)`` projections of view 1, any length.
        z2: ``(N, D)`` projections of view 2.
        temperature: T.

    Returns:
        ``(N,)``; every anchor has one positive and 2·N·world - 2 negatives.
    """
    z1, z2 = F.normalize(z1, dim=1), F.normalize(z2, dim=1)
    lse1, lse2 = _row_lse([z1, z2], [z1, z2], temperature)
    return 0.5 * (lse1 + lse2) - (z1 * z2).sum(1) / temperature


@full_precision
def soft_nt_xent(
    u: Tensor,
    v: Tensor,
    lam: Tensor,
    partner: Tensor,
    temperature: float,
    *,
    query_only: bool = False,
    switch: bool = True,
) -> Tensor:
    """NT-Xent between un-mixed and mixed images, with two positives a mixture.

    For one λ this is ``lam·nt_xent(u, v) + (1 - lam)·nt_xent(u, v re-ordered)`` as Un-Mix words
    it, in the mean: re-ordering rows leaves every denominator as it is, hence one logit matrix.

    Args:
        u: ``(N, D)`` projections of the un-mixed view, any length.
        v: ``(N, D)`` projections of the mixed images.
        lam: ``(N,)`` own share of each mixture.
        partner: ``(N,)`` int64, whose pixels fill the rest.
        temperature: T.
        query_only: only the mixed rows are anchors (extension; negatives stay the same).
        switch: False drops the partner's terms (paper, Table 1).

    Returns:
        ``(N,)``, row j: the loss of mixture j with its two sources.
    """
    u, v = F.normalize(u, dim=1), F.normalize(v, dim=1)
    lse_v, *others = _row_lse([v] if query_only else [v, u], [v, u], temperature)

    def pair(index: Tensor | None) -> Tensor:
        source = u if index is None else u[index]
        positive = (v * source).sum(1) / temperature
        if query_only:
            return lse_v - positive
        lse_u = others[0] if index is None else others[0][index]
        return 0.5 * (lse_v + lse_u) - positive

    return soft(pair(None), pair(partner), lam) if switch else lam * pair(None)


@full_precision
def simclr(z: Tensor, indexes: Tensor, temperature: float) -> Tensor:
    """NT-Xent over any number of views; equal index means positive.

    Several positives of an anchor are summed inside the logarithm. A row without any positive
    gives an infinite loss.

    Args:
        z: ``(V·N, D)`` projections, views stacked, any length.
        indexes: ``(V·N,)`` sample indexes, or class labels for the supervised form.
        temperature: T.

    Returns:
        Scalar mean over the rows of this process; negatives and positives of all processes.
    """
    z = F.normalize(z, dim=1)
    logits = _without(z @ gather(z).T / temperature, _own_columns(z))
    positive = indexes.unsqueeze(1) == gather_keys(indexes).unsqueeze(0)
    of_positives = logits.masked_fill(~positive, -torch.inf).logsumexp(1)
    return (logits.logsumexp(1) - of_positives).mean()


def _row_lse(anchors: list[Tensor], sets: list[Tensor], temperature: float) -> list[Tensor]:
    """Log-sum-exp of each anchor's logits over all other embeddings.

    Args:
        anchors: the first ``len(anchors)`` of ``sets``, each ``(N, D)``.
        sets: unit rows, each ``(N, D)``; gathered from all processes here.
        temperature: T.

    Returns:
        One ``(N,)`` per anchor set.
    """
    everyone = [gather(s) for s in sets]
    logits = torch.cat(anchors) @ torch.cat(everyone).T / temperature
    own = [i * len(everyone[0]) + _own_columns(a) for i, a in enumerate(anchors)]
    return list(_without(logits, torch.cat(own)).logsumexp(1).split(len(anchors[0])))


def _own_columns(x: Tensor) -> Tensor:
    """Where the rows of this process's ``x`` stand among the gathered rows."""
    return rank() * len(x) + torch.arange(len(x), device=x.device)


def _without(logits: Tensor, columns: Tensor) -> Tensor:
    """``logits`` with -inf at one column of each row: an embedding is no candidate for itself."""
    return logits.scatter(1, columns.unsqueeze(1), -torch.inf)

# SPDX-License-Identifier: MIT
r"""Contrast within a batch: SimCLR's NT-Xent of two and more views, and with soft labels.

For anchors a, with T the temperature and unit vectors throughout,
:math:`\ell(a, b) = \log\sum_{c \neq a} e^{\langle a, c\rangle / T} - \langle a, b\rangle / T`,
where c runs over all embeddings of both sets, of all processes.
"""

from collections.abc import Sequence
from typing import Literal

import torch
import torch.nn.functional as F
from torch import Tensor

from mixmask_solo.objectives.distributed import gather, gather_keys, rank
from mixmask_solo.objectives.info_nce import with_hard_negative
from mixmask_solo.objectives.weigh import Share, full_precision, upcast, weigh


@full_precision
def soft_nt_xent(
    u: Tensor,
    v: Tensor,
    sources: Sequence[Share],
    temperature: float,
    *,
    query_only: bool = False,
    negative: Tensor | None = None,
    alpha: float = 1.0,
) -> Tensor:
    """NT-Xent, a scalar, between un-mixed images and a branch's, with a positive for each source.

    The mean of both directions of each pair; every anchor has 2·N·world - 2 negatives. Un-Mix words
    it as λ·NTX(u, v) + (1 - λ)·NTX(u, v re-ordered): re-ordering rows leaves every denominator as
    it is, hence one logit matrix.

    Args:
        u: ``(N, D)`` projections of the un-mixed view, any length.
        v: ``(N, D)`` projections of the branch's images, whose ``sources`` these are.
        query_only: only the branch's rows are anchors (extension; negatives stay the same).
        negative: ``(N, D)`` of any length, one more negative for each row of ``v`` as anchor;
            ``alpha`` is the factor of its similarity.
    """
    u, v = F.normalize(u, dim=1), F.normalize(v, dim=1)
    lse_v, *others = _row_lse([v] if query_only else [v, u], [v, u], temperature)
    if negative is not None:
        negative = F.normalize(upcast(negative), dim=1)
        lse_v = with_hard_negative(lse_v, v, negative, alpha, temperature)
    if query_only:
        return weigh(lambda v, u: lse_v - (v * u).sum(1) / temperature, v, u, sources)

    def both(v: Tensor, u: Tensor, lse_u: Tensor) -> Tensor:
        positive = (v * u).sum(1) / temperature
        return 0.5 * (lse_v + lse_u) - positive

    return weigh(both, v, (u, others[0]), sources)


@full_precision
def soft_in_batch_nce(
    anchor: Tensor,
    candidate: Tensor,
    sources: Sequence[Share],
    temperature: float,
    *,
    branch: Literal["anchor", "candidate"],
) -> Tensor:
    r"""InfoNCE, a scalar, whose negatives are the other candidates: no mirror direction.

    :math:`\ell(a_i, c_j) = \log\sum_k e^{\langle a_i, c_k\rangle / T} - \langle a_i, c_j\rangle /
    T`, where k runs over the candidates of all processes.

    Args:
        anchor: ``(N, D)`` rows of the logits, any length.
        candidate: ``(N, D)`` columns, any length; gathered with gradient where they have one.
        branch: which side the branch's images are on, whose ``sources`` these are.
    """
    anchor, candidate = F.normalize(anchor, dim=1), F.normalize(candidate, dim=1)
    lse = (anchor @ gather(candidate).T / temperature).logsumexp(1)

    def pair(ours: Tensor, source: Tensor, lse: Tensor = lse) -> Tensor:
        return lse - (ours * source).sum(1) / temperature

    if branch == "anchor":
        return weigh(pair, anchor, candidate, sources)
    return weigh(pair, candidate, (anchor, lse), sources)


@full_precision
def simclr(z: Tensor, indexes: Tensor, temperature: float) -> Tensor:
    """NT-Xent over any number of views; equal index means positive.

    Several positives of an anchor are summed inside the logarithm. A row without any positive
    gives an infinite loss.

    Args:
        z: ``(V·N, D)`` projections, views stacked, any length.
        indexes: ``(V·N,)`` sample indexes, or class labels for the supervised form.

    Returns:
        Scalar mean over the rows of this process; negatives and positives of all processes.
    """
    z = F.normalize(z, dim=1)
    logits = _without(z @ gather(z).T / temperature, _own_columns(z))
    positive = indexes.unsqueeze(1) == gather_keys(indexes).unsqueeze(0)
    of_positives = logits.masked_fill(~positive, -torch.inf).logsumexp(1)
    return (logits.logsumexp(1) - of_positives).mean()


def _row_lse(anchors: list[Tensor], sets: list[Tensor], temperature: float) -> list[Tensor]:
    """``(N,)`` for each of the anchors, the first of ``sets``: over all embeddings but itself."""
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

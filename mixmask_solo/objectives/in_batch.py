# SPDX-License-Identifier: MIT
r"""InfoNCE whose negatives are the batch's other candidates, with two positives a mixture.

For anchors a and candidates c, unit vectors, T the temperature, :math:`\ell(a_i, c_j) = \log\sum_k
e^{\langle a_i, c_k\rangle / T} - \langle a_i, c_j\rangle / T`, where k runs over the candidates of
all processes. Unlike NT-Xent there is no second set of negatives and no mirror direction.
"""

from __future__ import annotations

from typing import Literal

import torch.nn.functional as F
from torch import Tensor

from mixmask_solo.objectives.distributed import gather
from mixmask_solo.objectives.precision import full_precision
from mixmask_solo.objectives.soft import soft

__all__ = ["soft_in_batch_nce"]


@full_precision
def soft_in_batch_nce(
    anchor: Tensor,
    candidate: Tensor,
    lam: Tensor,
    partner: Tensor,
    temperature: float,
    *,
    mixed: Literal["anchor", "candidate"],
    switch: bool = True,
) -> Tensor:
    """Soft-label cross entropy over one logit matrix, one side of which shows mixed images.

    In the mean, and for one λ, this is ``lam·NCE + (1 - lam)·NCE with the mixed rows re-ordered``:
    re-ordering candidates leaves every denominator as it is.

    Args:
        anchor: ``(N, D)`` rows of the logits, any length.
        candidate: ``(N, D)`` columns, any length; gathered from all processes, with gradient
            where they have one.
        lam: ``(N,)`` own share of each mixture.
        partner: ``(N,)`` int64, whose pixels fill the rest.
        temperature: T.
        mixed: which side the mixed images are on.
        switch: False drops the partner's terms (paper, Table 1).

    Returns:
        ``(N,)``, row j: the loss of mixture j with its two sources.
    """
    anchor, candidate = F.normalize(anchor, dim=1), F.normalize(candidate, dim=1)
    lse = (anchor @ gather(candidate).T / temperature).logsumexp(1)
    own = lse - (anchor * candidate).sum(1) / temperature
    if not switch:
        return lam * own
    if mixed == "anchor":
        other = lse - (anchor * candidate[partner]).sum(1) / temperature
    else:
        other = lse[partner] - (anchor[partner] * candidate).sum(1) / temperature
    return soft(own, other, lam)

# SPDX-License-Identifier: MIT
r"""The loss of a branch for each method: what predicts, what is predicted, how it is summed.

All weigh pair losses ℓ by the sources of the branch's images, against the *one* forward pass of
these; for a mixture, :math:`\tfrac1N \sum_i \lambda_i\,\ell(\text{pred}_i, t_i) +
(1-\lambda_i)\,\ell(\text{pred}_i, t_{\pi(i)})` (paper, Eq. 6). They differ in ℓ, the targets and
the reduction over the un-mixed views, which follows the host's own loss, so that mixed and clean
terms keep the published 1 : 1. Queues and centres are as before this step and take no mixture.

``pairing: query`` is Eq. 6: mixed images only predict. ``pairing: pair`` is the family's complete
two-view loss between an un-mixed view and the mixed one, as Un-Mix's README words it. Published as
code are MoCo's query form and, in Un-Mix, SwAV's pair form; those words are the best that BYOL,
SimSiam and SimCLR have, hence their default. All else are extensions (each file's card says so).
"""

from mixmask_solo.methods.families import contrast, non_contrastive
from mixmask_solo.methods.families.base import Family, Forwarded

__all__ = ["FAMILIES", "Family", "Forwarded"]

FAMILIES: dict[str, type[Family]] = {
    "barlow_twins": non_contrastive.BarlowTwinsFamily,
    "byol": non_contrastive.BYOLFamily,
    "dino": non_contrastive.DINOFamily,
    "mocov2": contrast.MoCoV2Family,
    "mocov2plus": contrast.MoCoFamily,
    "mocov3": contrast.MoCoV3Family,
    "nnbyol": non_contrastive.NNBYOLFamily,
    "nnclr": contrast.NNCLRFamily,
    "nnsiam": non_contrastive.NNSiamFamily,
    "ressl": non_contrastive.ReSSLFamily,
    "simclr": contrast.SimCLRFamily,
    "simsiam": non_contrastive.SimSiamFamily,
    "swav": non_contrastive.SwAVFamily,
    "vicreg": non_contrastive.VICRegFamily,
}
"""By method; a host that lacks a method has no class for it."""

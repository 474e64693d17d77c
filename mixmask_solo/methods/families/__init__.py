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

from mixmask_solo.methods.families.base import Family, Forwarded
from mixmask_solo.methods.families.contrast import (
    MoCoFamily,
    MoCoV2Family,
    MoCoV3Family,
    NNCLRFamily,
    SimCLRFamily,
)
from mixmask_solo.methods.families.non_contrastive import (
    BarlowTwinsFamily,
    BYOLFamily,
    DINOFamily,
    NNBYOLFamily,
    NNSiamFamily,
    ReSSLFamily,
    SimSiamFamily,
    SwAVFamily,
    VICRegFamily,
)

__all__ = ["FAMILIES", "Family", "Forwarded"]

FAMILIES: dict[str, type[Family]] = {
    "barlow_twins": BarlowTwinsFamily,
    "byol": BYOLFamily,
    "dino": DINOFamily,
    "mocov2": MoCoV2Family,
    "mocov2plus": MoCoFamily,
    "mocov3": MoCoV3Family,
    "nnbyol": NNBYOLFamily,
    "nnclr": NNCLRFamily,
    "nnsiam": NNSiamFamily,
    "ressl": ReSSLFamily,
    "simclr": SimCLRFamily,
    "simsiam": SimSiamFamily,
    "swav": SwAVFamily,
    "vicreg": VICRegFamily,
}
"""By method; a host that lacks a method has no class for it."""

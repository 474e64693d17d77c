# SPDX-License-Identifier: MIT
r"""The mixture loss of each method family: what predicts, what is predicted, how it is summed.

All families weigh two pair losses by the own share, :math:`\lambda_i\,\ell(\text{pred}_i, t_i) +
(1-\lambda_i)\,\ell(\text{pred}_i, t_{\pi(i)})` (paper, Eq. 6), against the *one* forward pass of
the mixed images. They differ in ℓ, in the targets, and in the reduction over the un-mixed views,
which follows the host's own loss, so that mixed and clean terms keep the published 1 : 1.

``pairing: query`` is Eq. 6: mixed images only predict. ``pairing: pair`` is the family's complete
two-view loss between an un-mixed view and the mixed one, as Un-Mix's README words it. Published as
code are MoCo's query form and, in Un-Mix, SwAV's pair form; those words are the best that BYOL,
SimSiam and SimCLR have, hence their default. All else are extensions (each family's card says so).
"""

from __future__ import annotations

from mixmask_solo.methods.families.base import Family, Mixed
from mixmask_solo.methods.families.cosine import BYOLFamily, SimSiamFamily
from mixmask_solo.methods.families.distributions import DINOFamily, SwAVFamily
from mixmask_solo.methods.families.moco import MoCoFamily
from mixmask_solo.methods.families.mocov2 import MoCoV2Family
from mixmask_solo.methods.families.mocov3 import MoCoV3Family
from mixmask_solo.methods.families.neighbours import NNBYOLFamily, NNCLRFamily, NNSiamFamily
from mixmask_solo.methods.families.ressl import ReSSLFamily
from mixmask_solo.methods.families.simclr import SimCLRFamily
from mixmask_solo.methods.families.statistics import BarlowTwinsFamily, VICRegFamily

__all__ = ["FAMILIES", "Family", "Mixed"]

FAMILIES: dict[str, Family] = {
    "barlow_twins": BarlowTwinsFamily(),
    "byol": BYOLFamily(),
    "dino": DINOFamily(),
    "mocov2": MoCoV2Family(),
    "mocov2plus": MoCoFamily(),
    "mocov3": MoCoV3Family(),
    "nnbyol": NNBYOLFamily(),
    "nnclr": NNCLRFamily(),
    "nnsiam": NNSiamFamily(),
    "ressl": ReSSLFamily(),
    "simclr": SimCLRFamily(),
    "simsiam": SimSiamFamily(),
    "swav": SwAVFamily(),
    "vicreg": VICRegFamily(),
}
"""By method; a host that lacks a method has no class for it."""

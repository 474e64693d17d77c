# SPDX-License-Identifier: MIT
"""Mixed images and the share each source has in them."""

from mixmask_solo.mixtures.mixmask import mixmask
from mixmask_solo.mixtures.mixture import Mixture
from mixmask_solo.mixtures.partner import partner
from mixmask_solo.mixtures.unmix import Box, cutmix, cutmix_box, mixup

__all__ = ["Box", "Mixture", "cutmix", "cutmix_box", "mixmask", "mixup", "partner"]

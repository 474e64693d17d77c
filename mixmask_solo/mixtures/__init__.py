# SPDX-License-Identifier: MIT
"""Mixed images and the share each source has in them."""

from mixmask_solo.mixtures.mixture import Box, Mixture, cutmix, cutmix_box, mixmask, mixup, partner

__all__ = ["Box", "Mixture", "cutmix", "cutmix_box", "mixmask", "mixup", "partner"]

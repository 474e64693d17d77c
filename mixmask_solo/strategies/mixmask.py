# SPDX-License-Identifier: MIT
r"""MixMask: masked areas are filled with another image of the batch, not erased.

**What.** A grid mask :math:`M` keeps the cells of an image where it is 1 and takes the partner's
pixels elsewhere: :math:`m_i = M \odot x_i + (1 - M) \odot x_{\pi(i)}` (Eq. 1). With
:math:`\lambda = \operatorname{mean}(M)` the loss adds to the method's own (Eq. 4, 6)

.. math:: L_\text{mix} = \tfrac1N \sum_i
   \lambda\,\ell(m_i, t_i) + (1-\lambda)\,\ell(m_i, t_{\pi(i)})

which equals the published re-ordering of the queries for every permutation.

**How.** ``method_kwargs.mixmask: {grid_size: 8, mask_type: block}`` on any of the four methods.

**Values.** The paper's best: grid 2 discrete (CIFAR-100), 4 block (Tiny-ImageNet), 8 block
(ImageNet), ratio 0.5 throughout (Table 1). One mask per batch and process, partner = reversed
batch, as published; beside ``unmix`` a fresh random permutation (see ``permutations``).

**Cost.** One more forward and backward pass of view 1: 1.75 times MoCo v2's work per image.

**Where this differs from the published code.** ``ratio`` is the *own* share for both kinds of
masks (there it is the opposite for discrete ones); 2×2 and 3×3 block masks are usable (the
published generator leaves 94 % of the 2×2 masks empty); the logged λ is the achieved one. λ per
sample (``per_sample``), λ drawn from a range per mask, ``prob`` below 1 and ``weight`` other
than 1 are extensions and off by default. How MixMask enters BYOL, SimSiam and SimCLR is published
in words only, Un-Mix's; ``pairing`` chooses between two readings (see the methods' families).

Source: Vishniakov, Xing, Shen, "MixMask: Revisiting Masking Strategy for Siamese ConvNets".
"""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, ClassVar

from torch import Tensor

from mixmask_solo.mixtures import mixmask
from mixmask_solo.strategies.base import Branch
from mixmask_solo.strategies.grid_masks import GridMasks, GridOptions
from mixmask_solo.strategies.permutations import Mixing, MixingOptions
from mixmask_solo.strategies.step import Step


@dataclass
class MixMaskOptions(GridOptions, MixingOptions):
    """The block ``method_kwargs.mixmask``; defaults are the paper's for ImageNet."""


class MixMask(Mixing):
    """Adds one branch of mask-mixed images of view 1 (see the module's card)."""

    name: ClassVar[str] = "mixmask"
    options_type: ClassVar[type[Any]] = MixMaskOptions
    stream = "partner"
    options: MixMaskOptions

    def __init__(self, options: MixMaskOptions) -> None:
        super().__init__(options)
        self.masks = GridMasks(options)

    @classmethod
    def check(cls, options: MixMaskOptions, cfg: Any) -> None:
        """Raises ConfigError where the grid has more cells than the mixed view has pixels."""
        options.check_grid("method_kwargs.mixmask", cfg)

    def branches(self, views: Sequence[Tensor], step: Step) -> list[Branch]:
        """One branch from view 1, or none when ``prob`` says so (the same on all ranks)."""
        if not self.masks.wanted(step):
            return []
        x = views[0]
        return [self.branch(mixmask(x, self.masks.draw(len(x), step), self.partners(x, step)))]

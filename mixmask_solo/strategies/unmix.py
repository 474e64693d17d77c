# SPDX-License-Identifier: MIT
r"""Un-Mix: whole-image or regional mixtures of view 1, with soft targets.

**What.** A coin per batch decides between a *global* mixture (Mixup),
:math:`m_i = \lambda x_i + (1 - \lambda) x_{\pi(i)}`, and a *regional* one (CutMix), a box of
:math:`x_{\pi(i)}` with side factor :math:`\sqrt{1 - \lambda}` and a uniform centre;
:math:`\lambda \sim \operatorname{Beta}(\beta, \beta)`. The loss adds to the method's own

.. math:: L_\text{mix} = \tfrac1N \sum_i
   \lambda\,\ell(m_i, t_i) + (1-\lambda)\,\ell(m_i, t_{\pi(i)})

with λ as achieved: a box is clipped to the image, which leaves 0.70 of it to the image itself on
average at 32 pixels (0.68 at 224), not one half.

**How.** ``method_kwargs.unmix: {prob: 0.5}`` on any method. Beside ``mixmask`` see
``permutations``. Here ``prob`` is the *share of Mixup*: every step has a mixture. (In ``mixmask``,
where there is no choice of mixtures, ``prob`` is the share of steps that have the branch.)

**Values.** ``prob`` 0.5 in Un-Mix's CIFAR demo and for all methods on CIFAR and Tiny-ImageNet;
0 (regional only) is reported best for Un-Mix alone on ImageNet, 0.5 beside MixMask there.
``beta`` 1 throughout (λ uniform), partner = reversed batch.

**Cost.** One more forward and backward pass of view 1: 1.75 times MoCo v2's work per image.

**Where this differs from the published code.** One forward pass of the mixed batch where its
symmetric loop makes two with the same numbers (``mocov2``'s running statistics move as by both);
Mixup's λ is the one applied in the images' precision; all draws come from the run's seed.
``weight`` other than 1, other partners and ``switch: false`` are extensions and off by default. How
Un-Mix enters BYOL, SimSiam and SimCLR is published in words only; ``pairing`` chooses between the
two readings (see the methods' families).

Source: Shen et al., "Un-Mix: Rethinking Image Mixtures for Unsupervised Visual Representation
Learning".
"""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, ClassVar

import torch
from torch import Tensor

from mixmask_solo.config import option
from mixmask_solo.mixtures import cutmix, mixup
from mixmask_solo.strategies.base import Branch
from mixmask_solo.strategies.permutations import Mixing, MixingOptions
from mixmask_solo.strategies.step import Step


@dataclass
class UnMixOptions(MixingOptions):
    """The block ``method_kwargs.unmix``; defaults are the CIFAR demo's.

    Args:
        prob: share of the steps that mix globally (Mixup), the others mix regionally (CutMix).
            Not the share of steps with a mixture, which is what ``mixmask.prob`` means.
        beta: λ ~ Beta(beta, beta), the same for both kinds; below 0.01 nearly every λ would be
            0 or 1, that is nothing mixed.
    """

    prob: float = option(0.5, low=0.0, high=1.0)
    beta: float = option(1.0, low=0.01)


class UnMix(Mixing):
    """Adds one branch of Mixup- or CutMix-mixed images of view 1 (see the module's card)."""

    name: ClassVar[str] = "unmix"
    options_type: ClassVar[type[Any]] = UnMixOptions
    stream = "unmix.partner"
    options: UnMixOptions

    def branches(self, views: Sequence[Tensor], step: Step) -> list[Branch]:
        """One branch from view 1; coin and λ are drawn on the host, so that no step waits."""
        o, x = self.options, views[0]
        draw = step.numbers("unmix")
        is_global = draw.random() < o.prob
        share = draw.betavariate(o.beta, o.beta)
        lam = torch.full((1,), share, dtype=torch.float64, device=x.device)
        index = self.partners(x, step)
        if is_global:
            return [self.branch(mixup(x, lam, index))]
        return [self.branch(cutmix(x, lam, index, generator=step.generator("unmix.box")))]

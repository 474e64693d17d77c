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
from functools import partial
from typing import Any, ClassVar, Literal

import torch
from torch import Tensor

from mixmask_solo.config import ConfigError, option
from mixmask_solo.masks import MaskPool, blocked, discrete
from mixmask_solo.mixtures import mixmask
from mixmask_solo.strategies.base import Branch
from mixmask_solo.strategies.permutations import Mixing, MixingOptions
from mixmask_solo.strategies.step import Step

_DRAW = {"block": blocked, "discrete": discrete}
_POOL = 64  # steps that masks are drawn ahead for
_POOL_MASKS = 16_384  # at most so many drawn at once on the CPU, 1 MiB of bool at grid 8


@dataclass
class MixMaskOptions(MixingOptions):
    """The block ``method_kwargs.mixmask``; defaults are the paper's for ImageNet.

    Args:
        grid_size: cells per side of the mask.
        mask_type: ``block`` (rectangles, centre-heavy) or ``discrete`` (independent cells).
        ratio: own share asked for, or ``[low, high]`` to draw it anew for every mask.
        per_sample: one mask per image instead of one per batch and process (extension).
        prob: share of the steps that have the branch (extension). Not a choice of mixtures, which
            is what ``unmix.prob`` means.
    """

    grid_size: int = option(8, low=2)
    mask_type: Literal["block", "discrete"] = "block"
    ratio: float | list[float] = 0.5
    per_sample: bool = False
    prob: float = option(1.0, low=0.0, high=1.0)

    def validate(self, prefix: str) -> None:
        """Cross-checks ``ratio``; raises ConfigError."""
        bounds = self.ratio if isinstance(self.ratio, list) else [self.ratio, self.ratio]
        if len(bounds) != 2 or not 0.0 <= bounds[0] <= bounds[1] <= 1.0:
            raise ConfigError(
                f"{prefix}.ratio is {self.ratio}: give the own share as one number within (0, 1) "
                "or as [low, high] with 0 <= low <= high <= 1"
            )
        cells = self.grid_size**2
        if not isinstance(self.ratio, list) and not 1 <= int(self.ratio * cells) < cells:
            raise ConfigError(
                f"{prefix}.ratio is {self.ratio}: of {cells} cells this keeps "
                f"{int(self.ratio * cells)}, so nothing would be mixed; "
                f"choose between {1 / cells:.4g} and {(cells - 1) / cells:.4g}"
            )


class MixMask(Mixing):
    """Adds one branch of mask-mixed images of view 1 (see the module's card)."""

    name: ClassVar[str] = "mixmask"
    options_type: ClassVar[type[Any]] = MixMaskOptions
    stream = "partner"
    options: MixMaskOptions

    def __init__(self, options: MixMaskOptions) -> None:
        super().__init__(options)
        self._pool: MaskPool | None = None
        self._pool_key: tuple[Any, ...] | None = None

    def __getstate__(self) -> dict[str, Any]:
        return {**self.__dict__, "_pool": None, "_pool_key": None}  # a copy draws its own, alike

    @classmethod
    def check(cls, options: MixMaskOptions, cfg: Any) -> None:
        """Raises ConfigError where the grid has more cells than the mixed view has pixels."""
        size = cfg.augmentations[0].crop_size if cfg.get("augmentations") else None
        if size is not None and options.grid_size > size:
            raise ConfigError(
                f"method_kwargs.mixmask.grid_size is {options.grid_size}: larger than the "
                f"image (augmentations[0].crop_size is {size}); choose at most {size}"
            )

    def branches(self, views: Sequence[Tensor], step: Step) -> list[Branch]:
        """One branch from view 1, or none when ``prob`` says so (the same on all ranks)."""
        o = self.options
        if o.prob < 1.0 and torch.rand((), generator=step.shared("mixmask.prob")).item() >= o.prob:
            return []
        x = views[0]
        return [self.branch(mixmask(x, self._mask(len(x), step), self.partners(x, step)))]

    def _mask(self, n: int, step: Step) -> Tensor:
        """``(n, g, g)`` or ``(1, g, g)`` masks of this step, from a pool drawn ahead."""
        per_batch = n if self.options.per_sample else 1
        on_gpu = step.device.type == "cuda"  # where a pool is quick, and its end a wait
        key = (per_batch, step.device, step.seed, step.rank)
        if self._pool is None or self._pool_key != key:
            self._pool_key = key
            self._pool = MaskPool(
                self._draw,
                per_batch=per_batch,
                batches=_POOL if on_gpu else max(1, min(_POOL, _POOL_MASKS // per_batch)),
                generator_for=partial(step.pool, "mask"),
            )
        return self._pool.take(step.epoch, step.batch)

    def _draw(self, n: int, generator: torch.Generator) -> Tensor:
        ratio: float | Tensor
        if isinstance(self.options.ratio, list):
            low, high = self.options.ratio
            draw = torch.rand(n, generator=generator, device=generator.device)
            ratio = low + (high - low) * draw
        else:
            ratio = self.options.ratio
        return _DRAW[self.options.mask_type](
            n, self.options.grid_size, ratio, generator=generator, device=generator.device
        )

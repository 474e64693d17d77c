# SPDX-License-Identifier: MIT
"""A step's grid masks: how a block asks for them and how they are drawn, whoever hides with them.

One place for both, so that MixMask and erasing can be compared mask for mask: with the same seed
and the same options they hide the same cells in every step.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from functools import partial
from typing import Any, Literal

import torch
from torch import Tensor

from mixmask_solo.config import ConfigError, option
from mixmask_solo.masks import MaskPool, blocked, discrete
from mixmask_solo.strategies.step import Step

_DRAW = {"block": blocked, "discrete": discrete}
_POOL = 64  # steps that masks are drawn ahead for
_POOL_MASKS = 16_384  # at most so many drawn at once on the CPU, 1 MiB of bool at grid 8


@dataclass
class GridOptions:
    """What the blocks of all strategies with grid masks have; defaults are MixMask's for ImageNet.

    Args:
        grid_size: cells per side of the mask.
        mask_type: ``block`` (rectangles, centre-heavy) or ``discrete`` (independent cells).
        ratio: own share asked for, or ``[low, high]`` to draw it anew for every mask.
        per_sample: one mask per image instead of one per batch and process (extension).
        prob: share of the steps that have masks at all (extension). Not a choice of mixtures, which
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
                f"{int(self.ratio * cells)}, but some must stay and some must go; "
                f"choose between {1 / cells:.4g} and {(cells - 1) / cells:.4g}"
            )

    def check_grid(self, prefix: str, cfg: Any) -> None:
        """Raises ConfigError where the grid has more cells than the masked view has pixels."""
        size = crop_size(cfg)
        if size is not None and self.grid_size > size:
            raise ConfigError(
                f"{prefix}.grid_size is {self.grid_size}: larger than the "
                f"image (augmentations[0].crop_size is {size}); choose at most {size}"
            )


def crop_size(cfg: Any) -> int | None:
    """Pixels per side of the large crops, where the configuration says."""
    return int(cfg.augmentations[0].crop_size) if cfg.get("augmentations") else None


class GridMasks:
    """Draws what the options of a block ask for, from pools drawn ahead.

    Args:
        options: as the block has them.
    """

    def __init__(self, options: GridOptions) -> None:
        self.options = options
        self._pools: dict[int, tuple[Any, MaskPool]] = {}  # by view, with what it depends on

    def __getstate__(self) -> Mapping[str, Any]:
        return {**self.__dict__, "_pools": {}}  # a copy draws its own, alike

    def wanted(self, step: Step) -> bool:
        """Whether this step has masks, as ``prob`` says; the same on all ranks."""
        prob = self.options.prob
        return prob >= 1 or torch.rand((), generator=step.shared("mixmask.prob")).item() < prob

    def draw(self, n: int, step: Step, view: int = 0) -> Tensor:
        """Masks of ``n`` images of one view; each view has its own.

        Returns:
            ``(1, g, g)`` or, with ``per_sample``, ``(n, g, g)`` bool, True = own pixel stays; not
            to be written to.
        """
        per_batch = n if self.options.per_sample else 1
        on_gpu = step.device.type == "cuda"  # where a pool is quick, and its end a wait
        key = (per_batch, step.device, step.seed, step.rank)
        known, pool = self._pools.get(view, (None, None))
        if pool is None or known != key:
            pool = MaskPool(
                self._draw,
                per_batch=per_batch,
                batches=_POOL if on_gpu else max(1, min(_POOL, _POOL_MASKS // per_batch)),
                generator_for=partial(step.pool, f"mask.{view}" if view else "mask"),
            )
            self._pools[view] = (key, pool)
        return pool.take(step.epoch, step.batch)

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

# SPDX-License-Identifier: MIT
"""The block ``method_kwargs.saliency``, and what in it follows from the rest of a run."""

import logging
from dataclasses import dataclass, field
from functools import cache
from typing import Any, Literal

from mixmask_solo.config import ConfigError, listing, option
from mixmask_solo.config.check import get
from mixmask_solo.config.rules import HARD_NEGATIVES, MOMENTUM_METHODS
from mixmask_solo.strategies.localizer import LocalizerOptions, identify, map_size

log = logging.getLogger(__name__)


@dataclass
class SaliencyOptions:
    """The block ``method_kwargs.saliency``; defaults are the public code's.

    Args:
        fill: what masked cells get, and with ``high_pass`` all inputs' filter.
        localizer: the frozen network.
        queries: views that are masked, and have negatives: the ``first``, or ``both`` (extension).
            null: both where a momentum network has the keys of both, else the first.
        negatives: whether there are hard ones; null where the method can take them.
        alpha: factor of their similarities.
        below: how far below the map's mean foreground reaches, in deviations.
        ratio: bounds of the share of cells that a query loses.
        negative_ratio: the same of a negative's foreground.
        noise_std, negative_noise_std: of ``high_pass``' noise.
        focal_prob: share of images with a focal window instead of cells; ``high_pass`` alone.
        channel_prob: of the others, share of those whose channels lose cells of their own.
        window: side of what a focal query still shows, as a share of the crop's.
        negative_window: side of what a focal negative does not show.
        filter_sigma, filter_kernel: of the high-pass filter, in pixels.
        blur_sigma, blur_kernel: of the filling ``blur``, in pixels.
    """

    fill: Literal["high_pass", "blur", "mean"] = "high_pass"
    localizer: LocalizerOptions = field(default_factory=LocalizerOptions)
    queries: Literal["first", "both"] | None = None
    negatives: bool | None = None
    alpha: float = option(2.0, low=0.0)
    below: float = option(0.6, low=0.0)
    ratio: list[float] = option([0.05, 0.25], length=2, low=0.0, high=1.0)
    negative_ratio: list[float] = option([0.4, 0.7], length=2, low=0.0, high=1.0)
    noise_std: float = option(0.18, low=0.0)
    negative_noise_std: float = option(0.14, low=0.0)
    focal_prob: float = option(0.2, low=0.0, high=1.0)
    channel_prob: float = option(0.7, low=0.0, high=1.0)
    window: float = option(200 / 224, above=0.0, high=1.0)
    negative_window: float = option(130 / 224, above=0.0, high=1.0)
    filter_sigma: float = option(5.0, low=0.3)  # less, and the filter leaves nothing
    filter_kernel: int = option(11, low=3)
    blur_sigma: float = option(10.0, above=0.0)
    blur_kernel: int = option(31, low=3)

    def __post_init__(self) -> None:
        if isinstance(self.localizer, dict):
            self.localizer = LocalizerOptions(**self.localizer)

    def validate(self, prefix: str) -> None:
        """Raises ConfigError for bounds the wrong way round, and for even kernels."""
        for key in ("ratio", "negative_ratio"):
            low, high = getattr(self, key)
            if low > high:
                raise ConfigError(f"{prefix}.{key} is [{low}, {high}]: give [low, high]")
        for key in ("filter_kernel", "blur_kernel"):
            if getattr(self, key) % 2 == 0:
                raise ConfigError(f"{prefix}.{key} is {getattr(self, key)}: give an odd number")


def complete(options: SaliencyOptions, cfg: Any, key: str) -> None:
    """Fills in what is null: views, negatives, the localiser's identity.

    Args:
        cfg: of the run; without a method it is taken for MoCo v2's.
        key: full key of the block.

    Raises:
        ConfigError: for a localiser that is not there, or crops that are too small for it.
    """
    method = get(cfg, "method", "mocov2")
    one_sided = method == "mocov2" and not get(cfg, "method_kwargs.symmetric", False)
    both = method in MOMENTUM_METHODS and not one_sided
    if options.queries == "both" and one_sided:
        raise ConfigError(
            f"{key}.queries is both: with method_kwargs.symmetric false view 2 is only a key; "
            "set symmetric to true, or leave queries out"
        )
    options.queries = options.queries or ("both" if both else "first")
    if options.negatives is None:
        options.negatives = method in HARD_NEGATIVES
        if not options.negatives:
            _tell(str(method))
    identify(options.localizer, f"{key}.localizer", cfg)
    views = get(cfg, "augmentations") or [{}]
    if size := views[0].get("crop_size"):
        _check_size(options, int(size), key)


def _check_size(options: SaliencyOptions, size: int, key: str) -> None:
    """Raises ConfigError where crops of ``size`` pixels are too small for a map or a kernel."""
    used = {"high_pass": "filter_kernel", "blur": "blur_kernel"}.get(options.fill)
    if used and getattr(options, used) >= 2 * size:
        raise ConfigError(
            f"{key}.{used} is {getattr(options, used)}: it must be below twice the crops' side "
            f"(augmentations[0].crop_size is {size})"
        )
    height, width = map_size(options.localizer, size)
    if height * width < 4:
        raise ConfigError(
            f"{key}.localizer.stage is {options.localizer.stage}: its map of crops of {size} "
            f"pixels has {height}x{width} cells, and no background; choose an earlier stage or "
            "larger crops"
        )


@cache
def _tell(method: str) -> None:
    """Says so once."""
    able = listing(HARD_NEGATIVES, "and")
    told = "saliency: %s has no negatives that one more could join (%s have): masking alone"
    log.info(told, method, able)

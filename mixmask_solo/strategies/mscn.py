# SPDX-License-Identifier: MIT
r"""MSCN: masked siamese ConvNets, both branches masked, behind a high-pass filter.

**What.** Every image first loses its blurred copy, :math:`x - G_\sigma * x`, in training and in
every evaluation. Then, behind all augmentations, each view of each image is masked: as a rule
square patches of a grid, the same in all colour channels or (``channel_wise``) others in each;
with probability ``focal`` all but one window instead. What is hidden becomes Gaussian noise. Both
branches are masked, with different magnitudes, and ``extra_views`` further crops, masked too, join
the loss:

.. math:: L = \sum_{a < b} \ell(a, b)

over all pairs of views, ℓ the method's own loss of two views; the method itself has the pair
(1, 2), this strategy adds the others.

**How.** ``method_kwargs.mscn: {}`` on any method. The loader makes ``extra_views`` more crops by
itself; ``augmentations`` stay as they are without the block.

**Values.** Of the MSCN paper: ``sigma`` 5 (Fig. 6), ``patch_size`` 32 pixels, which it calls grid
size (Fig. 5b), ``mask_ratio`` 0.15 for ResNet-50 (Fig. 5a), ``focal`` 0.4 (Fig. 5c), two extra
views. Of the saliency-guided masking authors' code, where MSCN's text has no number: ``kernel`` 11,
``focal_size`` 200 of 224 pixels, ``channel_wise`` 0.7, ``noise_std`` 0.18 (the query's) and
``key_noise_std`` 0.14 (there of hard negatives, which the momentum network sees; the two are the
only published pair of magnitudes). Their own settings besides: ``focal`` 0.2, ``mask_ratio``
[0.05, 0.25], ``views: query``.

**Cost.** Each extra view is a forward and a backward pass more, and with ``pair`` one of the
momentum network: MoCo v2 (one direction) 2.5 times its work per image, BYOL, SimCLR and SimSiam
twice. Filter, masks and noise are small beside that.

**Where this differs.** There is no code to compare with. Ours: a number of patches is rounded up or
down by chance, so that the mean hidden share is ``mask_ratio`` on every grid; which sides have the
two magnitudes (``sides``); the sum over pairs, where the text just says "every pair" (its mean is
the same at a higher learning rate); asymmetric ``mocov2`` has one key, so that extra views are
queries only and no pair is without view 2. ``weight`` other than 1, ``pairing: query`` elsewhere
and ``views: query`` with extra views are extensions.

Source: Jing, Zhu, LeCun, "Masked Siamese ConvNets"; numbers also of Chin et al., "Saliency-guided
masking", public code.
"""

import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import partial
from typing import Any, ClassVar, Literal

from torch import Tensor

from mixmask_solo.config import ConfigError, option
from mixmask_solo.config.rules import MOMENTUM_METHODS
from mixmask_solo.fills import fill, high_pass
from mixmask_solo.masks import patch_or_focal
from mixmask_solo.strategies.base import Branch, Pairing, Strategy, Views
from mixmask_solo.strategies.step import Step

Ratio = float | list[float]


@dataclass
class MSCNOptions:
    """The block ``method_kwargs.mscn``; the card says whose values the defaults are.

    Args:
        high_pass: filters every input, at evaluation too.
        sigma: deviation of the blur that is taken off, in pixels.
        kernel: its width in pixels, odd.
        patch_size: side of a cell of the grid masks, in pixels.
        mask_ratio: share of the cells that are *hidden* (``mixmask.ratio`` is the share that
            stays), or ``[low, high]`` to draw it anew for every mask; 0 for no grid masks.
        focal: share of the masks that keep one window instead.
        focal_size: side of that window: up to 1 a share of the image's shorter side, else pixels.
        channel_wise: share of the grid masks whose channels differ.
        noise_std: deviation of what is put into hidden pixels; 0 for zeros.
        views: ``both`` sides masked, or the ``query`` alone.
        key_mask_ratio: as ``mask_ratio``, of the key side; null for the same.
        key_noise_std: as ``noise_std``, of the key side; null for the same.
        sides: what query and key side are: the two ``networks``, or the two ``views`` (odd ones
            the query, even ones the key; both networks see the same); null takes the networks
            where the method has two.
        extra_views: masked crops besides those of the method.
        same_view: every view is a mask of view 1, extra ones too (the paper's Table 5).
        pairing: ``pair``, extra views are targets as well, or ``query``, they only predict the
            views of the method; null is ``pair`` unless ``mocov2`` is asymmetric.
        weight: factor of the loss of the extra views' pairs (extension).
    """

    high_pass: bool = True
    sigma: float = option(5.0, low=0.3)  # less, or one pixel, and the filter leaves nothing
    kernel: int = option(11, low=3)
    patch_size: int = option(32, low=1)
    mask_ratio: Ratio = option(0.15, low=0.0)
    focal: float = option(0.4, low=0.0, high=1.0)
    focal_size: float = option(0.893, above=0.0)
    channel_wise: float = option(0.7, low=0.0, high=1.0)
    noise_std: float = option(0.18, low=0.0)
    views: Literal["both", "query"] = "both"
    key_mask_ratio: Ratio | None = option(None, low=0.0)
    key_noise_std: float | None = option(0.14, low=0.0)
    sides: Literal["networks", "views"] | None = None
    extra_views: int = option(2, low=0)
    same_view: bool = False
    pairing: Pairing | None = None
    weight: float = option(1.0, low=0.0)

    def validate(self, prefix: str) -> None:
        """Cross-checks shares and sizes; raises ConfigError."""
        for key in ("mask_ratio", "key_mask_ratio"):
            bounds = _bounds(getattr(self, key) or 0.0)
            if len(bounds) != 2 or not 0.0 <= bounds[0] <= bounds[1] < 1.0:
                raise ConfigError(
                    f"{prefix}.{key} is {getattr(self, key)}: give the hidden share as one number "
                    "from 0 to below 1, or as [low, high] with 0 <= low <= high < 1"
                )
        if self.kernel % 2 == 0:
            raise ConfigError(
                f"{prefix}.kernel is {self.kernel}: it has a middle pixel only if it is odd; "
                f"choose {self.kernel + 1}"
            )
        if self.focal_size > 1 and self.focal_size % 1:
            raise ConfigError(
                f"{prefix}.focal_size is {self.focal_size}: give a share of the image's side up "
                "to 1, or a whole number of pixels"
            )

    def magnitudes(self, key: bool) -> tuple[list[float], float]:
        """Bounds of the hidden share, and the noise's deviation, of a side."""
        ratio, std = self.mask_ratio, self.noise_std
        if key:
            ratio = ratio if self.key_mask_ratio is None else self.key_mask_ratio
            std = std if self.key_noise_std is None else self.key_noise_std
        return _bounds(ratio), std

    def window(self, side: int) -> int:
        """Pixels a side that a focal mask keeps of images of this size, all of a smaller one."""
        pixels = self.focal_size if self.focal_size > 1 else self.focal_size * side
        return min(max(1, round(pixels)), side)


def _bounds(ratio: Ratio) -> list[float]:
    return ratio if isinstance(ratio, list) else [ratio, ratio]


class MSCN(Strategy):
    """Masks all views and adds masked crops (see the module's card)."""

    name: ClassVar[str] = "mscn"
    options_type: ClassVar[type[Any]] = MSCNOptions
    options: MSCNOptions

    @classmethod
    def check(cls, options: MSCNOptions, cfg: Any) -> None:
        """Settles ``sides`` and ``pairing`` by the method.

        Raises ConfigError for a side that the method has not, and what is larger than a crop.
        """
        _check_sizes(options, [a.crop_size for a in cfg.get("augmentations") or ()])
        method, kwargs = cfg.get("method"), cfg.method_kwargs
        two = method in MOMENTUM_METHODS
        if options.sides == "networks" and not two:
            raise ConfigError(
                f"method_kwargs.mscn.sides is networks, but method is {method}: it has one "
                "network; set sides to views or leave it out"
            )
        options.sides = options.sides or ("networks" if two else "views")
        one_sided = method == "mocov2" and not kwargs.get("symmetric")
        options.pairing = options.pairing or ("query" if one_sided else "pair")

    @classmethod
    def input_filter(cls, options: MSCNOptions) -> Callable[[Tensor], Tensor] | None:
        """The high-pass filter, unless it is switched off."""
        if not options.high_pass:
            return None
        return partial(high_pass, sigma=options.sigma, kernel=options.kernel)

    @classmethod
    def extra_crops(cls, options: MSCNOptions) -> int:
        """One for each extra view, unless all are the same."""
        return 0 if options.same_view else options.extra_views

    def views(self, views: Views, step: Step) -> Views:
        """Masks what the networks see; of small crops the online network alone sees any."""
        online, momentum = (self._crops_of(images) for images in (views.online, views.momentum))
        by_network = self.options.sides == "networks"
        masked = [
            self._masked(x, step, f"online.{i}", key=not by_network and i % 2 == 1)
            for i, x in enumerate(online)
        ]
        if not by_network:
            return views._replace(online=masked, momentum=masked[: len(momentum)])
        large = [x for x in momentum if x.shape == momentum[0].shape]
        keys = [self._masked(x, step, f"momentum.{i}", key=True) for i, x in enumerate(large)]
        return views._replace(online=masked, momentum=[*keys, *momentum[len(keys) :]])

    def branches(self, views: Sequence[Tensor], step: Step) -> list[Branch]:
        """The extra views, compared with all others."""
        o, n = self.options, self.options.extra_views
        more: dict[str, Any] = {"weight": o.weight, "pairing": o.pairing, "targets": "every"}
        if o.same_view:
            views = [views[0]] * n
        made = []
        for i, x in enumerate(views[len(views) - n :]):
            images, momentum = self._masked(x, step, f"extra.{i}", key=False), None
            if o.sides == "networks" and o.pairing == "pair":
                momentum = self._masked(x, step, f"extra_momentum.{i}", key=True)
            made.append(Branch(self.name, images, view=i % 2, momentum=momentum, **more))
        return made

    def _crops_of(self, images: Sequence[Tensor]) -> list[Tensor]:
        """The views, or view 1 in place of all of its size."""
        first, same = images[0], self.options.same_view
        return [first if same and x.shape == first.shape else x for x in images]

    def _masked(self, x: Tensor, step: Step, stream: str, *, key: bool) -> Tensor:
        """Images ``(N, C, H, W)`` with masks of one side; themselves where nothing is hidden."""
        o = self.options
        ratio, std = o.magnitudes(key)
        if (key and o.views == "query") or (ratio[1] == 0.0 and o.focal == 0.0):
            return x
        generator = step.generator(f"mscn.{stream}")
        mask = patch_or_focal(
            *x.shape,
            patch_size=o.patch_size,
            ratio=ratio,
            focal=o.focal,
            focal_size=o.window(min(x.shape[2:])),
            channel_wise=o.channel_wise,
            generator=generator,
        )
        return fill(x, mask, "noise" if std else "zero", std=std, generator=generator)


def _check_sizes(o: MSCNOptions, sizes: Sequence[int]) -> None:
    """Raises ConfigError for what is larger than the crops, if any, the large ones first."""
    large, smallest = (sizes[0], min(sizes)) if sizes else (math.inf, math.inf)
    if 2 * o.patch_size > large:
        raise ConfigError(
            f"method_kwargs.mscn.patch_size is {o.patch_size}: it is in pixels, and less than two "
            f"fit into the image (augmentations[0].crop_size is {large}); choose e.g. {large // 4}"
        )
    if o.focal_size > max(large, 1):
        raise ConfigError(
            f"method_kwargs.mscn.focal_size is {o.focal_size:g}: larger than the image "
            f"(augmentations[0].crop_size is {large}); choose at most {large}, or a share up to 1"
        )
    if o.high_pass and o.kernel // 2 >= smallest:
        raise ConfigError(
            f"method_kwargs.mscn.kernel is {o.kernel}: crops of {smallest} pixels take at most "
            f"{2 * smallest - 1}"
        )

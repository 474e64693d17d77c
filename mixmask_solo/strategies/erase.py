# SPDX-License-Identifier: MIT
r"""Erasing: masked areas show nothing of any image, but zeros, noise, a mean or a blur.

**What.** A grid mask :math:`M` keeps the cells of a view where it is 1 and puts a filling
elsewhere: :math:`m_i = M \odot x_i + (1 - M) \odot f(x_i)`. This is the vanilla masking that
MixMask is set against (its Fig. 2, left: "Erase / Gaussian noise"). With ``role: view`` masked
images stand in place of views, under the method's own loss. With ``role: branch`` views stay as
they are, and :math:`L_\text{erase} = \tfrac1N \sum_i \ell(m_i, t_i)` is added where MixMask adds
its mixtures' loss: the same passes and cells, only filling and second source differ.

**How.** ``method_kwargs.erase: {grid_size: 8, mask_type: block, fill: zero}`` on any method. Masks
are those of ``mixmask`` with the same seed and options, step by step (``grid_masks.py``).

**Values.** The paper has no recipe and no figures for it; the defaults are MixMask's masks. What is
masked as ``role: view`` says (small crops never are):

- ``views: query``: what predicts. Where all views predict targets of a momentum network (BYOL,
  DINO, MoCo v2+, MoCo v3, NNBYOL, symmetric MoCo v2), that is the online input of all views, stored
  as ``both``; else view 1. Of SimCLR and others with one network each pair then is a masked view 1
  and a clean view 2, whatever the loss makes of the two.
- ``views: both``: all large crops, each with masks of its own.
- ``targets: clean``: a momentum network sees no mask; ``masked``: it sees what the online one sees.
  One network cannot see both: there ``views: both`` is ``masked``, ``query`` is ``clean``.

**Cost.** None as a view but the filling; as a branch one more forward and backward pass of view 1,
1.75 times MoCo v2's work per image.

**Where this differs.** From no published code: there is none. Erasing in this form is ours, as are
``mean`` and ``blur`` (values of saliency-guided masking's fillings, recipes for 224 pixels),
``weight``, ``pairing`` and ``prob``. The key is ``role``, since ``as`` is no name in Python.

Source: Vishniakov, Xing, Shen, "MixMask: Revisiting Masking Strategy for Siamese ConvNets"; Chin et
al., "Masking Improves Contrastive Self-Supervised Learning for ConvNets, and Saliency Tells You
Where" for the fillings.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, ClassVar, Literal

from torch import Tensor

from mixmask_solo.config import ConfigError, option
from mixmask_solo.config.rules import each_view_predicts
from mixmask_solo.fills import fill
from mixmask_solo.strategies.base import Branch, Pairing, Strategy, Views
from mixmask_solo.strategies.grid_masks import GridMasks, GridOptions, crop_size
from mixmask_solo.strategies.step import Step

_KEY = "method_kwargs.erase"


@dataclass
class EraseOptions(GridOptions):
    """The block ``method_kwargs.erase``; masks are asked for as for MixMask.

    Args:
        fill: what masked cells show: ``zero`` (the mean colour of normalised images), ``noise``
            (Gaussian, for every pixel and channel), ``mean`` (the image's own, per channel) or
            ``blur`` (the image itself, blurred).
        noise_std: deviation of the noise, in that of normalised images.
        blur_sigma: deviation of the blur in pixels.
        blur_kernel: its width in pixels, odd.
        role: ``view`` (masked images stand in place of views) or ``branch`` (one more batch, made
            of view 1).
        views: which views are masked; see the module's card.
        targets: whether the network that gives the targets sees masks; see there.
        weight: factor of the branch's loss.
        pairing: ``query`` or ``pair`` for the branch; null takes the method's default.
    """

    fill: Literal["zero", "noise", "mean", "blur"] = "zero"
    noise_std: float = option(1.0, above=0.0)
    blur_sigma: float = option(10.0, above=0.0)
    blur_kernel: int = option(31, low=1)
    role: Literal["view", "branch"] = "view"
    views: Literal["query", "both"] = "query"
    targets: Literal["clean", "masked"] = "clean"
    weight: float = option(1.0, low=0.0)
    pairing: Pairing | None = None

    def validate(self, prefix: str) -> None:
        """Cross-checks; raises ConfigError."""
        super().validate(prefix)
        if self.blur_kernel % 2 == 0:
            raise ConfigError(f"{prefix}.blur_kernel is {self.blur_kernel}: give an odd number")
        fixed: dict[str, Any] = {"views": "query", "targets": "clean"}
        why, other = "the views stay clean", "view"
        if self.role == "view":
            fixed = {"weight": 1.0, "pairing": None}
            why, other = "the loss is the method's own", "branch"
        for key, default in fixed.items():
            if (value := getattr(self, key)) != default:
                raise ConfigError(
                    f"{prefix}.{key} is {value}, but role is {self.role}: {why}; leave {key} out, "
                    f"or set role to {other}"
                )


class Erase(Strategy):
    """Masks views, or adds a branch of masked images of view 1 (see the module's card)."""

    name: ClassVar[str] = "erase"
    options_type: ClassVar[type[Any]] = EraseOptions
    options: EraseOptions

    def __init__(self, options: EraseOptions) -> None:
        super().__init__(options)
        self.masks = GridMasks(options)

    @classmethod
    def check(cls, options: EraseOptions, cfg: Any) -> None:
        """Settles ``views`` by the method.

        Raises:
            ConfigError: for more cells than pixels, a blur wider than the image reflects, or
                targets that the method cannot have.
        """
        options.check_grid(_KEY, cfg)
        size = crop_size(cfg)
        if options.fill == "blur" and size is not None and options.blur_kernel // 2 >= size:
            raise ConfigError(
                f"{_KEY}.blur_kernel is {options.blur_kernel}: too wide for the image "
                f"(augmentations[0].crop_size is {size}); choose at most {2 * size - 1}"
            )
        if options.role == "view" and cfg.get("method") is not None:
            _settle_views(options, cfg)

    def views(self, views: Views, step: Step) -> Views:
        """Masked large crops, of those that ``views`` and ``targets`` say."""
        o, first = self.options, views.online[0]
        if o.role == "branch" or not self.masks.wanted(step):
            return views
        large = sum(x.shape == first.shape for x in views.online)
        n = large if o.views == "both" else 1

        def hidden(seen: Sequence[Tensor]) -> list[Tensor]:
            return [self._hide(x, v, step) if v < n else x for v, x in enumerate(seen)]

        momentum = views.momentum if o.targets == "clean" else hidden(views.momentum)
        return views._replace(online=hidden(views.online), momentum=momentum)

    def branches(self, views: Sequence[Tensor], step: Step) -> list[Branch]:
        """One branch of view 1 with role ``branch``, none else or when ``prob`` says so."""
        o = self.options
        if o.role == "view" or not self.masks.wanted(step):
            return []
        images = self._hide(views[0], 0, step)
        return [Branch(self.name, images, weight=o.weight, pairing=o.pairing)]

    def _hide(self, x: Tensor, view: int, step: Step) -> Tensor:
        """``x (N, C, H, W)`` of one view, filled where this step's masks are 0."""
        o = self.options
        noise = step.generator(f"erase.noise.{view}") if o.fill == "noise" else None
        return fill(
            x,
            self.masks.draw(len(x), step, view),
            o.fill,
            std=o.noise_std,
            sigma=o.blur_sigma,
            kernel=o.blur_kernel,
            generator=noise,
        )


def _settle_views(options: EraseOptions, cfg: Any) -> None:
    """Fills in ``both`` where all views predict; elsewhere masks and targets go together."""
    if each_view_predicts(cfg):
        options.views = "both"
        return
    method = f"but method is {cfg.method}"
    if (options.views, options.targets) == ("both", "clean"):
        raise ConfigError(
            f"{_KEY}.targets is clean and views is both, {method}: what view 2 gives is a target, "
            "and no other network sees it; set targets to masked, or views to query"
        )
    if (options.views, options.targets) == ("query", "masked"):
        raise ConfigError(
            f"{_KEY}.targets is masked and views is query, {method}: the target of view 1 is "
            "view 2, which is not masked then; set views to both, or targets to clean"
        )

# SPDX-License-Identifier: MIT
r"""Saliency-guided masking: foreground and background are masked alike, and hard negatives.

**What.** A frozen network, the localiser, sees each un-masked crop; where the sum over its last
channels is at least its mean less 0.6 deviations, a cell is *foreground*. Of the query's crop
:math:`\operatorname{round}(\rho\, n_\text{fg})` cells of the foreground are masked and as many of
the background that :math:`\lfloor \rho\, n \rfloor` are in all, :math:`\rho \sim U(0.05, 0.25)` per
image. The key stays whole. The key's crop with :math:`\rho \sim U(0.4, 0.7)` of its *foreground*
masked is a hard negative :math:`k^-` of its own query alone:

.. math:: L = -\log \frac{e^{q \cdot k / T}}
   {e^{q \cdot k / T} + \sum_j e^{q \cdot k_j / T} + e^{\alpha\, q \cdot k^- / T}}

**How.** ``method_kwargs.saliency: {fill: high_pass}`` on MoCo v2 with torchvision's ResNet-50 as
localiser; ``localizer: {from_run: FOLDER}`` takes the backbone of an earlier run. ``fill`` is
``high_pass`` (every input passes a high-pass filter, in each later evaluation too; masked cells are
noise; by coins a focal window, or cells of each channel for itself), ``blur`` or ``mean``.

**Values.** Those of the public code for crops of 224 pixels; windows are shares of the side (200
and 130 of 224). ImageNet-100, MoCo v2, linear: 68.22 without, 73.80 high-pass, 72.50 blur, 70.84
mean.

**Cost.** Two forward passes of the localiser (one without negatives where one view is masked), and
one of the momentum network (SimCLR: of the online one) for each batch of negatives, no backward
pass. Published: 5.5 minutes an epoch without, 9 high-pass, 10.5 blur, 7.5 mean.

**Where this differs from the public code.** Cells are judged at their own place (there each row of
the map is sorted first); every query has its own negative (there the first image's serves a whole
process); what rounding makes -1 is no cell (there all but one of the background); one cell is one
(there none); noise is drawn for each pixel (there one patch a batch); all of it on the device.
Blurring after the normalisation is the same as before it: the filter's weights sum to 1. Coins and
windows of a query and of its negative are drawn apart, which the paper leaves open. Negatives leave
BatchNorm's running statistics as they were: evaluation sees no such images (there a batch of one
moves them). Ours: SimCLR's negatives, stop-gradient outputs of its one network, for the queries of
view 1, the only masked view where no momentum network keeps the keys apart; symmetric losses, both
of whose queries are masked and have negatives; methods without negatives, which take the masking
alone; other stages, ``queries``, sizes, and the localiser in the run's precision.

Source: Chin et al., "Saliency-guided masking for ConvNets" (self-supervised, siamese); its code for
all numbers.
"""

from collections.abc import Callable, Sequence
from functools import partial
from typing import Any, ClassVar

import torch
from torch import Tensor

from mixmask_solo.fills import fill, high_pass
from mixmask_solo.masks import chosen, salient, upsample, window
from mixmask_solo.strategies.base import Branch, Filter, Strategy, Views
from mixmask_solo.strategies.localizer import Localizer
from mixmask_solo.strategies.saliency_options import SaliencyOptions, complete
from mixmask_solo.strategies.step import Step

_CAP_FROM, _CAP = 0.56, 0.55  # share of all cells that a high-pass negative may lose


class Saliency(Strategy):
    """Masks queries by what the localiser sees, and adds hard negatives (the module's card)."""

    name: ClassVar[str] = "saliency"
    options_type: ClassVar[type[Any]] = SaliencyOptions
    hard_negatives = True
    options: SaliencyOptions

    def __init__(self, options: SaliencyOptions) -> None:
        super().__init__(options)
        self.localizer = Localizer(options.localizer)
        self._found: tuple[Step, list[Tensor]] | None = None

    @classmethod
    def check(cls, options: SaliencyOptions, cfg: Any) -> None:
        """Completes the block; raises ConfigError for a localiser or crops that do not do."""
        complete(options, cfg, f"method_kwargs.{cls.name}")

    @classmethod
    def input_filter(cls, options: SaliencyOptions) -> Filter | None:
        """MSCN's high-pass filter, where cells are filled with noise."""
        if options.fill != "high_pass":
            return None
        return partial(high_pass, sigma=options.filter_sigma, kernel=options.filter_kernel)

    @property
    def masked(self) -> range:
        """Indexes of the views that are queries."""
        return range(1 + (self.options.queries == "both"))

    def foreground(self, x: Tensor) -> Tensor:
        """``(N, h, w)`` bool of normalised, un-masked and un-filtered images ``(N, 3, H, W)``."""
        return salient(self.localizer(x), self.options.below)

    def views(self, views: Views, step: Step) -> Views:
        """Masks what the online network sees of the queries."""
        wanted = 2 if self.options.negatives else len(self.masked)
        found = [self.foreground(x) for x in views.loaded[:wanted]]
        self._found = (step, found) if self.options.negatives else None
        online = list(views.online)
        for v in self.masked:
            online[v] = self.query(online[v], found[v], step.generator(f"saliency.query.{v}"))
        return views._replace(online=online)

    def branches(self, views: Sequence[Tensor], step: Step) -> list[Branch]:
        """A hard negative for each query: the other view without much of its foreground."""
        if not self.options.negatives:
            return []
        at, found = self._found or (None, [])
        if at != step:  # outside of a step, as for a picture
            found = [self.foreground(x) for x in views[:2]]
        self._found = None
        made = []
        for v in self.masked:
            generator = step.generator(f"saliency.negative.{v}")
            images = self.negative(views[1 - v], found[1 - v], generator)
            made.append(Branch(self.name, None, view=v, negatives=images, alpha=self.options.alpha))
        return made

    def maps(self, views: Views, step: Step) -> list[tuple[str, int, Tensor]]:
        """Saliency, each image's from 0 to 1, and what counts as foreground."""
        wanted = 2 if self.options.negatives else len(self.masked)
        made = []
        for v, x in enumerate(views.loaded[:wanted]):
            found = self.localizer(x).float()
            low, high = found.amin((1, 2), keepdim=True), found.amax((1, 2), keepdim=True)
            made += [
                ("saliency", v, (found - low) / (high - low).clamp(min=1e-12)),
                ("foreground", v, self.foreground(x).float()),
            ]
        return made

    def query(self, x: Tensor, foreground: Tensor, generator: torch.Generator) -> Tensor:
        """``(N, C, H, W)``, masked in fore- and background ``(N, h, w)`` by their shares."""
        o, cells = self.options, foreground[0].numel()
        ratio = _uniform(o.ratio, len(x), generator)
        front = (ratio * foreground.sum((1, 2))).round()
        back = (cells * ratio).floor() - front  # rounding may make -1 of it: none are chosen

        def draw(channels: int) -> Tensor:
            among = foreground[:, None].expand(-1, channels, -1, -1)
            lost = chosen(among, front[:, None], generator=generator)
            return lost | chosen(~among, back[:, None], generator=generator)

        return self._hide(x, draw, o.window, o.noise_std, generator, keeps_window=True)

    def negative(self, x: Tensor, foreground: Tensor, generator: torch.Generator) -> Tensor:
        """``(N, C, H, W)``, masked in the foreground ``(N, h, w)`` alone."""
        o, cells = self.options, foreground[0].numel()
        lost = _uniform(o.negative_ratio, len(x), generator) * foreground.sum((1, 2))
        if o.fill == "high_pass":
            lost = torch.where(lost / cells >= _CAP_FROM, _CAP * cells, lost)

        def draw(channels: int) -> Tensor:
            among = foreground[:, None].expand(-1, channels, -1, -1)
            return chosen(among, lost.round()[:, None], generator=generator)

        return self._hide(x, draw, o.negative_window, o.negative_noise_std, generator)

    def _hide(
        self,
        x: Tensor,
        draw: Callable[[int], Tensor],
        side: float,
        std: float,
        generator: torch.Generator,
        keeps_window: bool = False,
    ) -> Tensor:
        """Fills the cells ``(N, channels, h, w)`` that ``draw(channels)`` gives, or by a coin what
        a window shows, or does not."""
        o, (n, channels, *size) = self.options, x.shape
        if o.fill != "high_pass":
            return fill(x, ~draw(1), o.fill, sigma=o.blur_sigma, kernel=o.blur_kernel)
        coins = torch.rand(2, n, 1, 1, 1, generator=generator, device=x.device)
        own = draw(channels)
        cells = torch.where(coins[0] < o.channel_prob, own, own[:, :1])
        shape = (size[0], size[1])
        pixels = max(1, round(side * min(shape)))
        seen = window(n, shape, pixels, generator=generator, device=x.device)
        focal = seen if keeps_window else ~seen
        keep = torch.where(coins[1] < o.focal_prob, focal, ~upsample(cells, shape))
        return fill(x, keep, "noise", std=std, generator=generator)


def _uniform(bounds: Sequence[float], n: int, generator: torch.Generator) -> Tensor:
    low, high = bounds
    return low + (high - low) * torch.rand(n, generator=generator, device=generator.device)

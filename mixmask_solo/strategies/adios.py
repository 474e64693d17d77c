# SPDX-License-Identifier: MIT
r"""ADIOS: masks that are learnt, by an occlusion model that wants them to be hard.

**What.** An occluder splits the pixels of view 2 among N soft masks :math:`m_n` that sum to 1 at
each pixel; 1 hides. With :math:`L_n` the method's loss between view 1 and
:math:`x \odot (1 - m_n)`, :math:`a_n` the area of a mask and s the softmax over the areas,

.. math:: \min_\text{networks} \sum_n L_n \qquad \max_\text{occluder}
   \sum_n \Bigl( L_n - \alpha\,\operatorname*{mean}_\text{batch}
   \frac{1}{\sin \pi a_n + 10^{-10}} \Bigr) + \alpha_2 \sum_{\text{batch}, n} s_n \log s_n

SimSiam masks both views and averages, per slot, up to four kinds of pairs: a masked image predicts
the other view, that view predicts it (``pairing: pair``), the un-masked views each other
(``clean``), the masked ones each other (``both_masked``). **ADIOS-s** (``single``) draws one slot
per image: one masked pass, the penalty over all slots.

**How.** ``method_kwargs.adios: {slots: 4, single: true}`` on SimCLR, BYOL and SimSiam (published)
or MoCo v2 and v2+ (an extension: masked queries, whole keys). ``schedule: alternating``: on every
batch the networks' step, then the occluder's. ``simultaneous`` (an extension): its gradient, turned
round, comes out of the networks' own backward pass. Small crops and 16-bit floats with a scaled
loss are refused; the trainer's clipping of gradients leaves the occluder's alone.

**Values.** The defaults are those of the published ImageNet-100 run of SimCLR, but for ``single``;
all nine published settings lie under ``scripts/pretrain``. The code searched them per method.

**Cost.** Passes: 2 + N forward, 1 + N backward, then again N and 1 (SimSiam 2, BYOL and MoCo none)
forward and N backward through the networks, the occluder beside them. ``single`` is N = 1,
``simultaneous`` saves the second half. Published: 2 + 2N and 2N passes in the two steps.

**Where this differs.** Each un-masked view passes a network once a step, in the code once for every
slot: same loss and gradients, fewer moves of BatchNorm's running statistics. In the occluder's step
a masked image is no target of BYOL and SimSiam, since that has no gradient: the momentum network
and its statistics stay as they are. The penalty is the code's, taken so that float32 keeps its
sign. The code's slots of ADIOS-s are drawn on the CPU's global generator, ours from the run's seed.
MoCo's second step contrasts with the queue as it was before the batch.

Source: Shi et al., "Adversarial Masking for Self-Supervised Learning", and its code.
"""

from collections.abc import Callable, Sequence
from dataclasses import replace
from typing import Any, ClassVar

import torch
from torch import Tensor

from mixmask_solo.networks import Occluder
from mixmask_solo.objectives import area_penalty, slot_entropy
from mixmask_solo.strategies.adios_options import AdiosOptions
from mixmask_solo.strategies.base import Branch, Strategy, Views
from mixmask_solo.strategies.step import Step

_VIEWS = {"first": (0,), "second": (1,), "both": (0, 1)}


class Adios(Strategy):
    """Adds a branch per slot of learnt masks (see the module's card)."""

    name: ClassVar[str] = "adios"
    options_type: ClassVar[type[Any]] = AdiosOptions
    options: AdiosOptions

    def __init__(self, options: AdiosOptions) -> None:
        super().__init__(options)
        o = options
        assert o.size is not None  # all is filled in by `check`
        self.occluder = Occluder(o.size, o.slots, width=o.width, norm=o.norm, depth=o.depth)
        # A slot's terms are averaged: those of one direction each, two in a pair.
        self._per_branch = 2 if o.pairing == "pair" else 1
        self._seen = _VIEWS[str(o.views)]
        pairs = bool(o.clean) + bool(o.both_masked)
        self._share = 1.0 / (self._per_branch * len(self._seen) + 2 * pairs)
        times = 1 if o.single else o.slots
        self.host_weight = 2.0 * bool(o.clean) * self._share * times
        self.alternates = o.schedule == "alternating"
        self._areas: list[Tensor] = []  # of the step's slots, by view: (N, slots)
        self._penalty: Tensor | None = None

    @classmethod
    def check(cls, options: AdiosOptions, cfg: Any) -> None:
        """Fills in what the run decides; raises ConfigError for one that ADIOS is not made for."""
        options.fill(cfg)

    def branches(self, views: Sequence[Tensor], step: Step) -> list[Branch]:
        """A masked batch per slot and view, or one a view."""
        with torch.set_grad_enabled(torch.is_grad_enabled() and not self.alternates):
            masks = self.masks(views)
        self._areas = [m.detach().mean((2, 3)) for m in masks.values()]
        if not self.alternates:
            self._penalty = self._cost(masks)
            masks = {v: _Reversed.apply(m) for v, m in masks.items()}
        return self._masked(views, masks, step, "adios.slot")

    def masks(self, views: Sequence[Tensor]) -> dict[int, Tensor]:
        """``(N, slots, H, W)`` by view, for those that have masks; 1 hides."""
        return {v: self.occluder(views[v]) for v in self._seen}

    def _masked(
        self, views: Sequence[Tensor], masks: dict[int, Tensor], step: Step, stream: str
    ) -> list[Branch]:
        o, made = self.options, []
        weight = self._per_branch * self._share
        for slot in self._slots(masks, step, stream):
            own = [
                Branch(
                    *(self.name, views[v] * (1.0 - m)),
                    view=v,
                    weight=weight,
                    pairing=o.pairing,
                    targets="other",
                )
                for v, m in slot.items()
            ]
            made += own
            if o.both_masked:
                one, two = own
                pair = replace(two, against=one, pairing="pair", weight=2 * self._share)
                made.append(pair)
        return made

    def _slots(self, masks: dict[int, Tensor], step: Step, stream: str) -> list[dict[int, Tensor]]:
        """``(N, 1, H, W)`` by view for each slot, or for the one that is drawn per image."""
        if not self.options.single:
            parts = {v: m.split(1, dim=1) for v, m in masks.items()}
            return [{v: p[n] for v, p in parts.items()} for n in range(self.options.slots)]
        x = masks[self._seen[0]]
        shape, draw = (len(x), 1, 1, 1), step.generator(stream)
        drawn = torch.randint(self.options.slots, shape, generator=draw, device=x.device)
        return [{v: m.take_along_dim(drawn, 1) for v, m in masks.items()}]

    def maps(self, views: Views, step: Step) -> list[tuple[str, int, Tensor]]:
        """The masks of all slots; bright hides."""
        with torch.no_grad():
            masks = self.masks(views.online)
        return [
            (f"slot {n + 1}", v, mask)
            for v, slots in masks.items()
            for n, mask in enumerate(slots.unbind(1))
        ]

    def penalty(self) -> Tensor | None:
        """What the areas cost the occluder, where its gradient comes with the networks' own."""
        penalty, self._penalty = self._penalty, None  # a graph, which no copy could hold
        return penalty

    def own_loss(
        self, views: Sequence[Tensor], step: Step, losses: Callable[[list[Branch]], list[Tensor]]
    ) -> Tensor:
        """What the occluder minimises in a step of its own: easy masks, and areas."""
        masks = self.masks(views)
        branches = self._masked(views, masks, step, "adios.slot.own")
        found = zip(branches, losses(branches), strict=True)
        hard = torch.stack([branch.weight * loss for branch, loss in found]).sum()
        return self._cost(masks) - hard

    def _cost(self, masks: dict[int, Tensor]) -> Tensor:
        o, found = self.options, [m.mean((2, 3)) for m in masks.values()]
        cost = o.alpha * torch.stack([area_penalty(a).mean(0).sum() for a in found]).sum()
        if o.entropy:  # of both views' slots together where all are used, as published
            sets = found if o.single else [torch.cat(found, dim=1)]
            cost = cost - o.entropy * torch.stack([slot_entropy(a) for a in sets]).sum()
        return cost

    def metrics(self) -> dict[str, Tensor]:
        """Mean areas of the smallest and the largest slot: near 0 or 1 it is dead."""
        areas = torch.cat([a.mean(0) for a in self._areas])
        return {"area_min": areas.min(), "area_max": areas.max()}

    def optimizer(self) -> dict[str, Any]:
        """SGD in LARS over the occluder."""
        keys = ("lr", "weight_decay", "momentum", "eta")
        settings = {key: getattr(self.options, key) for key in keys}
        return {"params": self.occluder.parameters(), **settings}


class _Reversed(torch.autograd.Function):
    """The identity with its gradient turned round: what descends for one side ascends for it."""

    @staticmethod
    def forward(ctx: Any, x: Tensor) -> Tensor:
        return x.view_as(x)

    @staticmethod
    def backward(ctx: Any, grad: Tensor) -> Tensor:
        return -grad

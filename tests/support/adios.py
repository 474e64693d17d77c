# SPDX-License-Identifier: MIT
"""ADIOS written out: two optimisers, one loop over slots, every published pass."""

from __future__ import annotations

import math
from copy import deepcopy
from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from mixmask_solo.strategies import Step

__all__ = ["NETWORKS", "Loop"]

NETWORKS = ("backbone", "projector", "predictor", "classifier")


def nt_xent(a: Tensor, b: Tensor, t: float) -> Tensor:
    z = F.normalize(torch.cat([a, b]), dim=1)
    n, losses = len(a), []
    for i in range(2 * n):
        others = [j for j in range(2 * n) if j != i]
        logits = z[others] @ z[i] / t
        losses.append(logits.logsumexp(0) - z[i] @ z[(i + n) % (2 * n)] / t)
    return torch.stack(losses).mean()


def cosine(p: Tensor, z: Tensor) -> Tensor:
    return F.cosine_similarity(p, z.detach(), dim=1).mean()


class Loop:
    """Copies a method's networks and trains them by hand.

    Args:
        model: a method with the block ``adios``, before its first step.
        lr: of the networks' SGD (momentum 0.9, decay 1e-4; the classifier's without decay).
        total: steps that the momentum's cosine is for.
        times: factor of the occluder's rate.
    """

    def __init__(self, model: Any, lr: float, total: int, times: int = 1) -> None:
        self.kwargs, self.method = model.cfg.method_kwargs, model.cfg.method
        self.o, self.seed, self.total = model.strategies["adios"].options, model.cfg.seed, total
        self.nets = {n: deepcopy(getattr(model, n)) for n in NETWORKS if hasattr(model, n)}
        self.slow = {n: deepcopy(self.nets[n]) for n in ("backbone", "projector")}
        self.queue = model.queue.clone() if hasattr(model, "queue") else None
        self.tau = model.cfg.momentum.base_tau if "momentum" in model.cfg else 0.0
        self.occluder = deepcopy(model.strategies["adios"].occluder)
        groups = [{"params": net.parameters(), "weight_decay": 1e-4 * (name != "classifier")}
                  for name, net in self.nets.items()]  # fmt: skip
        self.optimizer = torch.optim.SGD(groups, lr=lr, momentum=0.9)
        self.own_lr = self.o.lr * times
        self.buffers: dict[nn.Parameter, Tensor] = {}

    def outputs(self, x: Tensor) -> dict[str, Tensor]:
        feats = self.nets["backbone"](x)
        z = self.nets["projector"](feats)
        more = {"p": self.nets["predictor"](z)} if "predictor" in self.nets else {}
        return {"feats": feats, "z": z, **more}

    @torch.no_grad()
    def target(self, x: Tensor) -> Tensor:
        z: Tensor = self.slow["projector"](self.slow["backbone"](x))
        return z

    def pair(self, whole: tuple[Tensor, Tensor], masked: dict[int, Tensor]) -> Tensor:
        """The loss of one slot: ``whole`` views, ``masked`` copies of some by view."""
        if self.method == "simsiam":
            return self.simsiam(whole, masked)
        [(v, x)] = masked.items()
        other = whole[1 - v]
        if self.method == "mocov2plus":
            q = F.normalize(self.outputs(x)["z"], dim=1)
            k = F.normalize(self.target(other), dim=1)
            assert self.queue is not None
            positive = (q * k).sum(1, keepdim=True)
            logits = torch.cat([positive, q @ self.queue[1 - v]], 1) / self.kwargs.temperature
            return F.cross_entropy(logits, torch.zeros(len(q), dtype=torch.long))
        one, two = self.outputs(other), self.outputs(x)
        if self.method == "simclr":
            return nt_xent(one["z"], two["z"], self.kwargs.temperature)
        t1, t2 = self.target(other), self.target(x)
        return 2 - 2 * cosine(one["p"], t2) + 2 - 2 * cosine(two["p"], t1)

    def simsiam(self, whole: tuple[Tensor, Tensor], masked: dict[int, Tensor]) -> Tensor:
        one, two = map(self.outputs, whole)
        m1, m2 = self.outputs(masked[0]), self.outputs(masked[1])
        terms = [cosine(m1["p"], two["z"]), cosine(m2["p"], one["z"])]
        if self.o.pairing == "pair":
            terms += [cosine(two["p"], m1["z"]), cosine(one["p"], m2["z"])]
        if self.o.clean:
            terms += [cosine(one["p"], two["z"]), cosine(two["p"], one["z"])]
        if self.o.both_masked:
            terms += [cosine(m1["p"], m2["z"]), cosine(m2["p"], m1["z"])]
        return -torch.stack(terms).mean()

    def masks(self, views: tuple[Tensor, Tensor]) -> dict[int, Tensor]:
        seen = {"first": [0], "second": [1], "both": [0, 1]}[self.o.views]
        return {v: self.occluder(views[v]) for v in seen}

    def slots(self, views: Any, masks: dict[int, Tensor], step: int, stream: str) -> Tensor:
        """Σ over slots of the loss, or the one of the slots that are drawn."""
        if not self.o.single:
            return torch.stack([
                self.pair(views, {v: views[v] * (1 - m[:, n : n + 1]) for v, m in masks.items()})
                for n in range(self.o.slots)
            ]).sum()  # fmt: skip
        draw = Step(self.seed, 0, step, 0, torch.device("cpu")).generator(stream)
        slot = torch.randint(self.o.slots, (len(views[0]), 1, 1, 1), generator=draw).flatten()
        chosen = {v: torch.stack([m[i, c] for i, c in enumerate(slot.tolist())])[:, None]
                  for v, m in masks.items()}  # fmt: skip
        return self.pair(views, {v: views[v] * (1 - m) for v, m in chosen.items()})

    def areas(self, masks: dict[int, Tensor]) -> Tensor:
        """-α·P + α₂·E."""
        found = [m.mean((2, 3)) for m in masks.values()]
        cost = sum((1 / (torch.sin(math.pi * a) + 1e-10)).mean(0).sum() for a in found)
        sets = found if self.o.single else [torch.cat(found, 1)]
        e = sum((a.softmax(1) * a.log_softmax(1)).sum() for a in sets)
        return self.o.entropy * e - self.o.alpha * cost

    def classifier(self, views: Any, labels: Tensor) -> Tensor:
        used = views[:1] if self.method == "mocov2" else views
        logits = [self.nets["classifier"](self.outputs(x)["feats"].detach()) for x in used]
        return torch.stack([F.cross_entropy(x, labels) for x in logits]).mean()

    def alternating(self, *batches: Any) -> None:
        """The networks' step over (views, labels, number), then the occluder's with the networks
        as they then are."""
        self.optimizer.zero_grad()
        for views, labels, step in batches:
            with torch.no_grad():
                masks = self.masks(views)
            loss = self.slots(views, masks, step, "adios.slot") + self.classifier(views, labels)
            (loss / len(batches)).backward()
        self.optimizer.step()
        goals = []
        for views, _, step in batches:
            masks = self.masks(views)
            goals.append(self.slots(views, masks, step, "adios.slot.own") + self.areas(masks))
        goal = torch.stack(goals).mean()
        self.lars(torch.autograd.grad(-goal, list(self.occluder.parameters())))
        self.end(*batches[-1][::2])

    def simultaneous(self, batch: Any) -> None:
        """Both gradients at the same weights, by two separate passes; then both steps."""
        views, labels, step = batch
        masks = self.masks(views)
        goal = self.slots(views, masks, step, "adios.slot") + self.areas(masks)
        grads = torch.autograd.grad(-goal, list(self.occluder.parameters()))
        masks = {v: m.detach() for v, m in masks.items()}
        self.optimizer.zero_grad()
        loss = self.slots(views, masks, step, "adios.slot") + self.classifier(views, labels)
        loss.backward()
        self.optimizer.step()
        self.lars(grads)
        self.end(views, step)

    @torch.no_grad()
    def lars(self, grads: Any) -> None:
        """SGD with momentum 0.9 in LARS with clipping; vectors take plain steps without decay."""
        for p, g in zip(self.occluder.parameters(), grads, strict=True):
            if p.ndim > 1:
                decay = self.o.weight_decay
                rate = self.o.eta * p.norm() / (g.norm() + decay * p.norm() + 1e-8)
                g = (g + decay * p) * min(rate / self.own_lr, 1)
            self.buffers[p] = self.o.momentum * self.buffers.get(p, torch.zeros_like(g)) + g
            p -= self.own_lr * self.buffers[p]

    @torch.no_grad()
    def end(self, views: Any, step: int) -> None:
        """Queue and moving average, as the host does them."""
        if self.queue is not None:
            n, size = len(views[0]), self.queue.shape[-1]
            at = step * n % size
            for v in (0, 1):
                keys = F.normalize(self.target(views[v]), dim=1)
                self.queue[v, :, at : at + n] = keys.T
        if self.tau:
            tau = 1 - (1 - self.tau) * (math.cos(math.pi * step / self.total) + 1) / 2
            for name, net in self.slow.items():
                for slow, fast in zip(net.parameters(), self.nets[name].parameters(), strict=True):
                    slow.copy_(tau * slow + (1 - tau) * fast)

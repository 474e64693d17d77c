# SPDX-License-Identifier: MIT
r"""Families whose images are told apart from others: InfoNCE with a queue or within the batch.

**MoCo v2+** (solo-learn's, symmetric, a queue for each view) and **MoCo v2** (official, one queue):
a mixture's query seeks the keys of its sources. With the mixture built from view 1, MoCo v2's loss
is λ·NCE(q^m, k²) + (1−λ)·NCE(q^m, k²_π) if asymmetric, the published ImageNet form; symmetric, that
plus the same against k¹, a *sum*, as in Un-Mix's CIFAR code, the keys of view 1 being those of the
very crops that the mixture is made of. ``pair`` (extension) sends mixtures through the key encoder
too, their keys never enter a queue. Clean and mixed queries of a queue share one streamed product:
at 65,536 keys it is most of what a step does besides the networks.

**MoCo v3.** 2T times a cross entropy over the keys of all processes' batches. The second source's
key is in the batch, so both terms share one denominator and each source stays among the other's
negatives. **NNCLR.** The *anchor* is a view's neighbour, found as in NNBYOL, the candidates are the
predictions of all processes: re-ordering mixtures changes no denominator. Both are extensions.

**SimCLR.** ``pair`` is the default and what Un-Mix publishes in words: λ·NTX(z², z^m) +
(1−λ)·NTX(z², z^m re-ordered), from one logit matrix. ``query`` keeps only the mixed rows as anchors
(extension). With htdt's or Google's head each pair passes the head together: an un-mixed view's
projections differ between the host's loss and each mixture's, as in three full passes there.

**Hard negatives** (MoCo v2, MoCo v2+, SimCLR) are of their branch's queries, whatever the sources;
they pass a network in training mode, whose running statistics stay, and enter neither queue nor
mirror. A branch without images
hardens a view's own queries: what they add to the host's loss makes it InfoNCE with K + 2 logits.
"""

from collections.abc import Sequence
from typing import Any

import torch
from torch import Tensor

from mixmask_solo.methods.families.base import Family, Forwarded, NeighbourFamily, Out
from mixmask_solo.objectives import (
    info_nce_from_lse,
    shared_queue_lse,
    soft_in_batch_nce,
    soft_nt_xent,
    weigh,
    with_hard_negative,
)


class _Queued(Family):
    """InfoNCE against momentum keys and the queue as it was before this step.

    Leaves ``out["queue_lse"]``, log Σ exp over the queue of each view's queries, for the host.
    """

    def __init__(self, method: Any, out: Out, branches: Sequence[Forwarded]) -> None:
        super().__init__(method, out, branches)
        self.forwarded = [b for b in branches if b.branch.images is not None]
        self.lse: dict[Forwarded, dict[int, Tensor]] = {b: {} for b in self.forwarded}
        self.clean = out["queue_lse"] = self.read_queue()

    def predict(self, b: Forwarded, v: int) -> Tensor:
        query, t, branch = b.out["z"], self.method.temperature, b.branch
        # A branch's keys are in no queue; it meets that of the view which the branch stands beside.
        place = v if v < self.n_views else self.slots[v - self.n_views].branch.view
        lse = self.clean[branch.view] if branch.images is None else self.lse[b][place]
        if b.negative is not None:
            lse = with_hard_negative(lse, query, b.negative, branch.alpha, t)
        return weigh(
            lambda q, k: info_nce_from_lse(q, k, lse, t), query, self.targets[v], branch.sources
        )

    def mirror(self, b: Forwarded, v: int, target: Tensor) -> Tensor:
        views, t = (self.out["z"][v], self.clean[v]), self.method.temperature
        return weigh(
            lambda k, q, lse: info_nce_from_lse(q, k, lse, t), target, views, b.branch.sources
        )

    def read_queue(self) -> Sequence[Tensor]:
        """Fills ``lse`` of each branch, by the view it is compared with; returns that of views."""
        raise NotImplementedError


class MoCoFamily(_Queued):
    """MoCo v2+: a query of view v meets the queue that holds keys of the other view."""

    direction = 0.5

    def read_queue(self) -> Sequence[Tensor]:
        clean = []
        for query, v in zip(reversed(self.out["z"]), (0, 1), strict=True):
            users = [b for b in self.forwarded if v in self.views(b)]
            rows = [query, *(b.out["z"] for b in users)]
            own, *others = shared_queue_lse(self.method.queue[v], rows, self.method.temperature)
            clean.append(own)
            for b, part in zip(users, others, strict=True):
                self.lse[b][v] = part
        return clean[::-1]


class MoCoV2Family(_Queued):
    """Official MoCo; also leaves ``out["mixed_keys"]``, the views of each forwarded branch."""

    direction = 1.0

    def reduce(self, terms: Tensor) -> Tensor:
        return terms.sum()

    def views(self, b: Forwarded) -> list[int]:
        if self.n_views > 1:
            return super().views(b)
        if b.branch.view and b.branch.targets != "every":
            raise ValueError(
                f"{b.branch.name} makes a branch of view 2: with method_kwargs.symmetric false "
                "that is only a key, and there is no other; set symmetric to true"
            )
        return [0]  # the only keys are those of view 2, and `both` is refused

    def read_queue(self) -> Sequence[Tensor]:
        queries = self.out["z"]
        rows = [*queries, *(b.out["z"] for b in self.forwarded)]
        lse = shared_queue_lse(self.method.queue, rows, self.method.temperature)
        # Nobody's loop forwards a branch of `every` once for each direction.
        once = [b.branch.targets == "every" for b in self.forwarded]
        views = [self.views(b) for b in self.forwarded]
        self.out["mixed_keys"] = [v[:1] if o else v for o, v in zip(once, views, strict=True)]
        for b, own in zip(self.forwarded, lse[len(queries) :], strict=True):
            self.lse[b] = dict.fromkeys(self.views(b), own)
        return lse[: len(queries)]


class MoCoV3Family(Family):
    """2T · in-batch InfoNCE, summed over views as the host sums its directions."""

    predicted = "momentum_k"

    def own_target(self, b: Forwarded) -> Tensor:
        # what others call z
        key: Tensor = self.method.momentum_forward(b.branch.momentum_images)["k"]
        return key

    def predict(self, b: Forwarded, v: int) -> Tensor:
        pair, t = (b.out["q"], self.targets[v]), self.method.temperature
        return soft_in_batch_nce(*pair, b.branch.sources, t, branch="anchor")

    def mirror(self, b: Forwarded, v: int, target: Tensor) -> Tensor:
        pair, t = (self.out["q"][v], target), self.method.temperature
        return soft_in_batch_nce(*pair, b.branch.sources, t, branch="candidate")

    def reduce(self, terms: Tensor) -> Tensor:
        return 2 * self.method.temperature * terms.sum()


class NNCLRFamily(NeighbourFamily):
    """Cross entropy of neighbours over the batch's predictions, averaged over views."""

    predicted = "z"

    def predict(self, b: Forwarded, v: int) -> Tensor:
        pair, t = (self.targets[v], b.out["p"]), self.method.temperature
        return soft_in_batch_nce(*pair, b.branch.sources, t, branch="candidate")


class SimCLRFamily(Family):
    """NT-Xent as one soft-label cross entropy, against view 2 alone unless asked otherwise."""

    pairing = "pair"
    only_other = True
    complete = True
    direction = 0.5
    predicted = "z"

    def predict(self, b: Forwarded, v: int) -> Tensor:
        branch, negative, pair = b.branch, b.negative, (self.targets[v], b.out["z"])
        if "raw_z" in self.out:  # a head that projects what belongs together
            joint = self.method.projector.joint
            if branch.images is not None:
                raw = self.out["raw_z"][v] if v < self.n_views else self.targets[v]
                pair = joint([raw, b.out["z"]])
            if negative is not None:
                with torch.no_grad():
                    [negative] = joint([negative])
        return soft_nt_xent(
            *pair,
            branch.sources,
            self.method.temperature,
            query_only=branch.images is None or self.pairing_of(b) == "query",
            negative=negative,
            alpha=branch.alpha,
        )

# SPDX-License-Identifier: MIT
"""What every family is made of: branches with their outputs, and the shape of their loss."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any, ClassVar

import torch
from torch import Tensor

from mixmask_solo.strategies import Branch

Out = dict[str, Any]


@dataclass(eq=False)
class Forwarded:
    """A branch and what the networks made of it."""

    branch: Branch
    out: Out  # the online network's, of its images
    momentum: Callable[[], Tensor]  # gives their momentum projection (N, D), computed at most once
    negative: Tensor | None = None  # (N, D) projections of its hard negatives, without gradient
    against: "Forwarded | None" = None  # that branch, with what the networks made of it
    frozen: bool = False  # only its images learn


class Family:
    """How one method turns a step's branches into losses.

    Args:
        method: the host's, for its queue and temperature.
        out: what the host's base class returned for the views, per view; may be added to.
        branches: all of the step.
    """

    pairing: ClassVar[str] = "query"
    predicted: ClassVar[str] = "momentum_z"  # the output that is predicted of an un-mixed view
    only_other: ClassVar[bool] = False  # unless asked, not even "query" compares with the own view
    complete: ClassVar[bool] = False  # a term holds both directions, there is no mirror
    direction: ClassVar[float | None] = None  # InfoNCE: share of one view's queries in the host's

    def __init__(self, method: Any, out: Out, branches: Sequence[Forwarded]) -> None:
        self.method, self.out, self.branches = method, out, branches
        self.targets = list(self.view_targets())  # and behind them those of branches, see `slot`
        self.n_views = len(self.targets)
        self.slots: list[Forwarded] = []

    @classmethod
    def losses(cls, method: Any, out: Out, branches: Sequence[Forwarded]) -> list[Tensor]:
        """One scalar per branch, unweighted by ``branch.weight``."""
        family = cls(method, out, branches)
        return [family._loss(b) for b in branches]

    def _loss(self, b: Forwarded) -> Tensor:
        if b.branch.images is None:
            return self._hardened(b)
        return self.loss(b) if b.against is None else self.between(b, b.against)

    def loss(self, b: Forwarded) -> Tensor:
        """Terms of all views that the branch predicts and, with ``pair``, that predict it."""
        if b.branch.targets == "every":
            return self.every(b)
        views = self.views(b)
        terms = [self.predict(b, v) for v in views]
        if self.pairing_of(b) == "pair" and not self.complete:
            if b.frozen:  # as a target it has no gradient
                return self.reduce(torch.stack([*terms, *map(torch.zeros_like, terms)]))
            target = self.own_target(b)
            terms += [self.mirror(b, v, target) for v in views]
        return self.reduce(torch.stack(terms))

    def every(self, b: Forwarded) -> Tensor:
        """The host's own loss of two views, of each view and the branch, and of each later branch
        that says ``every`` and this one; without ``pair`` there are but predictions of views."""
        pair, mirrored = self.pairing_of(b) == "pair", not self.complete
        pairs = []
        for v in self.views(b):
            mirror = [self.mirror(b, v, self.targets[self.slot(b)])] if pair and mirrored else []
            pairs.append([self.predict(b, v), *mirror])
        losses = [self.reduce(torch.stack(terms)) for terms in pairs]
        losses += [self.between(b, other) for other in (self.later(b) if pair else ())]
        return torch.stack(losses).sum()

    def between(self, b: Forwarded, other: Forwarded) -> Tensor:
        """The loss of two branches as if they were the step's two views."""
        mirrored = self.pairing_of(b) == "pair" and not self.complete
        mirror = [self.predict(other, self.slot(b))] if mirrored else []
        return self.reduce(torch.stack([self.predict(b, self.slot(other)), *mirror]))

    def later(self, b: Forwarded) -> list[Forwarded]:
        """Branches of the same strategy behind this one that say ``every``."""
        behind = self.branches[self.branches.index(b) + 1 :]
        alike = (b.branch.name, "every")
        return [other for other in behind if (other.branch.name, other.branch.targets) == alike]

    def slot(self, b: Forwarded) -> int:
        """Where ``targets`` holds what is predicted of a branch's images."""
        if b not in self.slots:
            self.slots.append(b)
            self.targets.append(self.own_target(b))
        return self.n_views + self.slots.index(b)

    def views(self, b: Forwarded) -> list[int]:
        """Indexes of the un-mixed views that a branch is compared with."""
        default = "both" if self.pairing_of(b) == "query" and not self.only_other else "other"
        targets = b.branch.targets if b.branch.images is not None else "other"
        both = (targets or default) in ("both", "every")
        return [v for v in range(self.n_views) if both or v != b.branch.view]

    def pairing_of(self, b: Forwarded) -> str:
        """``query`` or ``pair``."""
        return b.branch.pairing or self.pairing

    def reduce(self, terms: Tensor) -> Tensor:
        """Over views, as the host reduces its own directions."""
        return terms.mean()

    def view_targets(self) -> Sequence[Tensor]:
        """What is predicted of each un-mixed view."""
        targets: Sequence[Tensor] = self.out[self.predicted][: self.method.num_large_crops]
        return targets

    def own_target(self, b: Forwarded) -> Tensor:
        """The same of the branch's images."""
        own: Tensor = b.out[self.predicted] if self.predicted in b.out else b.momentum()
        return own

    def predict(self, b: Forwarded, v: int) -> Tensor:
        """Scalar: the branch's images predict view v."""
        raise NotImplementedError

    def mirror(self, b: Forwarded, v: int, target: Tensor) -> Tensor:
        """Scalar: view v predicts the branch's images. Here the *predictions* are the sources'."""
        raise NotImplementedError

    def _hardened(self, b: Forwarded) -> Tensor:
        """What hard negatives add to the method's own loss of the branch's view."""
        if self.direction is None or len(self.out["z"]) > 2:
            raise ValueError(
                f"{b.branch.name} makes a view's own negatives harder: needs two views"
            )
        [v] = self.views(b)
        plain = Forwarded(b.branch, b.out, b.momentum)
        return self.direction * (self.predict(b, v) - self.predict(plain, v))


class NeighbourFamily(Family):
    """Predicted are nearest neighbours in the host's queue, those of its own loss."""

    def view_targets(self) -> Sequence[Tensor]:
        return [self.method.find_nn(z)[1] for z in super().view_targets()]

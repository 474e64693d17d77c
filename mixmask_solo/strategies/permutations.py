# SPDX-License-Identifier: MIT
r"""Who is mixed with whom, and MixMask*: MixMask beside Un-Mix, with the same partners or others.

**What.** Both blocks present, view 1 gives two mixed batches, each with its own λ, each forwarded
by the online network:

.. math:: L = L_\text{orig} + L_\text{Un-Mix} + L_\text{MixMask}

all weights 1. ``permutations: different`` (the paper's MixMask*): Un-Mix keeps the reversed batch,
MixMask draws a fresh random permutation for every batch and process. ``permutations: same``: one
permutation for both branches.

**How.** ``method_kwargs: {mixmask: {grid_size: 8}, unmix: {prob: 0.5}, permutations: different}``.

**Values.** ``different`` is at least as good in all columns of the paper's Table 2 but one
(CIFAR-100 SimCLR, 70.0 against 70.1); ``unmix.prob: 0.5`` beside MixMask.

**Cost.** Two more forward and backward passes of view 1: 2.5 times MoCo v2's work per image.

**Where this differs.** Nowhere for the default. A block's own ``partner`` overrides: ``same``
takes the one given for both, ``different`` only refuses two partners that must coincide. As
published, a random permutation may leave an image its own partner (one image a batch on average).
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, ClassVar, Literal

from torch import Tensor

from mixmask_solo.config import ConfigError, check
from mixmask_solo.mixtures import partner
from mixmask_solo.strategies.base import Strategy
from mixmask_solo.strategies.step import Step

__all__ = ["Partner", "Permutation", "Permuted", "effective", "settle"]

Partner = Literal["reverse", "random", "roll"]
_BOTH = ("mixmask", "unmix")
_KEY = "method_kwargs.permutations"


@dataclass(frozen=True)
class Permutation:
    """How the partners of a batch come about.

    Args:
        kind: ``reverse`` (i and N-1-i), ``random`` or ``roll`` (i and i+1).
        stream: what ``random`` draws from; equal streams give equal permutations in a step.
    """

    kind: Partner
    stream: str

    def draw(self, x: Tensor, step: Step) -> Tensor:
        """``(N,)`` int64, the partner of each image of ``x (N, C, H, W)``, on its device."""
        generator = step.generator(self.stream)
        return partner(self.kind, len(x), generator=generator, device=x.device)


class Permuted(Strategy):
    """A strategy that mixes images with partners; its options have ``partner``."""

    partner_stream: ClassVar[str]

    def __init__(self, options: Any) -> None:
        super().__init__(options)
        self.permutation = Permutation(options.partner or "reverse", self.partner_stream)


@dataclass
class _Choice:
    permutations: Literal["same", "different"] | None = None


def settle(permutations: Any, strategies: Sequence[Strategy]) -> None:
    """Gives MixMask and Un-Mix their permutations where both are there.

    Args:
        permutations: value of ``method_kwargs.permutations``; None means ``different`` where
            neither block names a partner, else each block keeps what it says (``reverse`` where
            it says nothing).
        strategies: all of the run; changed in place.

    Raises:
        ConfigError: for another value, without both blocks, or where the blocks' own partners
            say the opposite.
    """
    choice = check({"permutations": permutations}, _Choice, "method_kwargs").permutations
    by_name = {s.name: s for s in strategies if isinstance(s, Permuted)}
    if any(name not in by_name for name in _BOTH):
        if choice is not None:
            missing = " and ".join(name for name in _BOTH if name not in by_name)
            raise ConfigError(
                f"{_KEY} is {choice}: it compares the blocks mixmask and unmix, but there is no "
                f"{missing} under method_kwargs; add it or remove permutations"
            )
        return
    mixmask, unmix = (by_name[name] for name in _BOTH)
    if choice == "same":
        _make_same(mixmask, unmix)
    elif choice == "different" or (not mixmask.options.partner and not unmix.options.partner):
        _make_different(mixmask, unmix)


def effective(mixmask: Permutation, unmix: Permutation) -> Literal["same", "different"]:
    """What ``method_kwargs.permutations`` has come to."""
    same = mixmask == unmix or (mixmask.kind == unmix.kind != "random")
    return "same" if same else "different"


def _make_same(mixmask: Permuted, unmix: Permuted) -> None:
    mine, other = mixmask.options.partner, unmix.options.partner
    if mine and other and mine != other:
        raise ConfigError(
            f"{_KEY} is same: but mixmask.partner is {mine} and unmix.partner is {other}; "
            "give one of the two, or both alike"
        )
    mixmask.permutation = Permutation(mine or other or "reverse", mixmask.partner_stream)
    unmix.permutation = mixmask.permutation


def _make_different(mixmask: Permuted, unmix: Permuted) -> None:
    kind: Partner = mixmask.options.partner or "random"
    if kind == unmix.permutation.kind != "random":
        raise ConfigError(
            f"{_KEY} is different: but mixmask.partner and unmix.partner are both {kind}, "
            "the same images; set mixmask.partner to random or leave it out"
        )
    mixmask.permutation = Permutation(kind, mixmask.partner_stream)

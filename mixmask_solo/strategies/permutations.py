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

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Literal

from torch import Tensor

from mixmask_solo.config import ConfigError, check, option
from mixmask_solo.mixtures import Mixture, partner
from mixmask_solo.strategies.base import Branch, Pairing, Strategy, Targets
from mixmask_solo.strategies.step import Step

_BOTH = ("mixmask", "unmix")
_KEY = "method_kwargs.permutations"


@dataclass
class MixingOptions:
    """What the blocks of all mixtures have.

    Args:
        partner: whose pixels come in: ``reverse`` (i and N-1-i), ``random``, ``roll``; null is
            ``reverse``, beside another mixture what ``method_kwargs.permutations`` says.
        switch: False drops the partner's loss term (MixMask's Table 1).
        weight: factor of the branch's loss (extension).
        pairing: ``query`` or ``pair``; null takes the method's default.
        targets: ``both`` un-mixed views or only the ``other``; null takes the method's default
            (as a rule ``both`` for ``query``, ``other`` for ``pair``).
    """

    partner: Literal["reverse", "random", "roll"] | None = None
    switch: bool = True
    weight: float = option(1.0, low=0.0)
    pairing: Pairing | None = None
    targets: Targets | None = None


class Mixing(Strategy):
    """A strategy that mixes images with partners."""

    options: MixingOptions
    stream: str
    """What random partners are drawn from; equal streams give equal permutations in a step."""

    def partners(self, x: Tensor, step: Step) -> Tensor:
        """``(N,)`` int64, the partner of each image of ``x (N, C, H, W)``, on its device."""
        generator = step.generator(self.stream)
        return partner(str(self.options.partner), len(x), generator=generator, device=x.device)

    def branch(self, mixture: Mixture) -> Branch:
        """The mixed images with what the block says about their loss."""
        o = self.options
        more = {key: getattr(o, key) for key in ("switch", "weight", "pairing", "targets")}
        return Branch.of(self.name, mixture, **more)


@dataclass
class _Choice:
    permutations: Literal["same", "different"] | None = None


def settle(permutations: Any, options: Mapping[str, Any]) -> Literal["same", "different"] | None:
    """Gives MixMask and Un-Mix their partners.

    Args:
        permutations: value of ``method_kwargs.permutations``; None means ``different`` where
            neither block names a partner, else each block keeps what it says (``reverse`` where
            it says nothing).
        options: of all blocks by name; their ``partner`` is filled in.

    Returns:
        What ``permutations`` has come to, where both blocks are there.

    Raises:
        ConfigError: for another value, without both blocks, or where the blocks' own partners
            say the opposite.
    """
    choice = check({"permutations": permutations}, _Choice, "method_kwargs").permutations
    present = [options[name] for name in _BOTH if name in options]
    if len(present) == 2:
        choice = _settle_both(choice, *present)
    elif choice is not None:
        missing = " and ".join(name for name in _BOTH if name not in options)
        raise ConfigError(
            f"{_KEY} is {choice}: it compares the blocks mixmask and unmix, but there is no "
            f"{missing} under method_kwargs; add it or remove permutations"
        )
    for block in present:
        block.partner = block.partner or "reverse"
    return choice


def _settle_both(choice: str | None, mixmask: Any, unmix: Any) -> Literal["same", "different"]:
    mine, other = mixmask.partner, unmix.partner
    if choice == "same":
        if mine and other and mine != other:
            raise ConfigError(
                f"{_KEY} is same: but mixmask.partner is {mine} and unmix.partner is {other}; "
                "give one of the two, or both alike"
            )
        mixmask.partner = unmix.partner = mine or other
        return "same"
    if choice == "different" or not (mine or other):
        mixmask.partner = mine or "random"
    alike = (mixmask.partner or "reverse") == (other or "reverse") and mixmask.partner != "random"
    if choice == "different" and alike:
        raise ConfigError(
            f"{_KEY} is different: but mixmask.partner and unmix.partner are both "
            f"{mixmask.partner}, the same images; set mixmask.partner to random or leave it out"
        )
    return "same" if alike else "different"


def share_partners(strategies: Sequence[Strategy]) -> None:
    """Lets MixMask and Un-Mix draw the very same permutation, as ``permutations: same`` says."""
    mixing = {s.name: s for s in strategies if isinstance(s, Mixing)}
    mixing["unmix"].stream = mixing["mixmask"].stream

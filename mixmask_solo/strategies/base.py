# SPDX-License-Identifier: MIT
"""What a strategy is: options, and two hooks around the host's forward passes."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, ClassVar, Literal

from torch import Tensor

from mixmask_solo.mixtures import Mixture
from mixmask_solo.strategies.step import Step

__all__ = ["Branch", "Pairing", "Strategy", "Targets"]

Pairing = Literal["query", "pair"]
Targets = Literal["both", "other"]


@dataclass(frozen=True)
class Branch:
    """One extra batch of mixed images for the online network, made from view 1.

    Args:
        name: the strategy's name; losses are logged as ``train_<name>_loss``.
        mixture: the mixed images with each image's own share and partner.
        weight: factor of this branch's loss.
        switch: False drops the partner's term (paper, Table 1, "switch mixture").
        pairing: ``query`` (mixed images only predict), ``pair`` (the family's complete two-view
            loss), or None for the family's default.
        targets: ``both`` un-mixed views, only the ``other`` view 2, or None for the default.
    """

    name: str
    mixture: Mixture
    weight: float = 1.0
    switch: bool = True
    pairing: Pairing | None = None
    targets: Targets | None = None


class Strategy:
    """Base of all strategies; both hooks do nothing by default."""

    name: ClassVar[str]
    options_type: ClassVar[type[Any]]

    def __init__(self, options: Any) -> None:
        self.options = options

    def check(self, cfg: Any) -> None:
        """Checks the options against the rest of the run's configuration.

        Raises:
            ConfigError: when they cannot work together.
        """

    def views(self, views: Sequence[Tensor], step: Step) -> list[Tensor]:
        """Changes the views, each ``(N, C, H, W)``, before any forward pass."""
        return list(views)

    def branches(self, views: Sequence[Tensor], step: Step) -> list[Branch]:
        """Mixed batches to forward besides the views."""
        return []

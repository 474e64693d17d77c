# SPDX-License-Identifier: MIT

"""Widths of heads, keys of nearly every method."""

from __future__ import annotations

from dataclasses import dataclass

from mixmask_solo.config.option import option

__all__ = ["Predictor", "Projector"]


@dataclass
class Projector:
    """Behind the backbone."""

    proj_hidden_dim: int = option(low=1)
    proj_output_dim: int = option(low=1)


@dataclass
class Predictor(Projector):
    """Behind the projector."""

    pred_hidden_dim: int = option(low=1)

# SPDX-License-Identifier: MIT
"""Keys of the networks behind the backbone, in ``method_kwargs`` of nearly every method."""

from dataclasses import dataclass

from mixmask_solo.config.option import option

HEADS = {"simclr": ("solo", "htdt", "google"), "simsiam": ("solo", "patrickhua")}
"""Choices of ``method_kwargs.head`` by method; the first is the default."""


@dataclass
class Projector:
    """Behind the backbone."""

    proj_hidden_dim: int = option(low=1)
    proj_output_dim: int = option(low=1)


@dataclass
class Predictor(Projector):
    """Behind the projector."""

    pred_hidden_dim: int = option(low=1)

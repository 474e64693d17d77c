# SPDX-License-Identifier: MIT
"""What ADIOS asks of its masks besides being hard: penalties of the slots' areas."""

import math

import torch
from torch import Tensor

from mixmask_solo.objectives.weigh import full_precision

_EPS = 1e-10


@full_precision
def area_penalty(area: Tensor) -> Tensor:
    """1 / (sin(π·area) + 1e-10), any shape; least where a mask covers half of the image.

    ADIOS, section 2.3. sin(π·a) = sin(π·(1 - a)), taken on the side where it is exact: in float32
    sin(π) is negative, and the published penalty of a mask that hides everything is about -1.1e7.
    """
    return 1.0 / (torch.sin(math.pi * torch.minimum(area, 1.0 - area)) + _EPS)


@full_precision
def slot_entropy(area: Tensor) -> Tensor:
    """Scalar Σ s·log s over batch and slots, s the softmax over the slots of ``area (N, slots)``.

    Negative, least where all slots are of one size; a sum over the batch, as published.
    """
    return (torch.softmax(area, 1) * torch.log_softmax(area, 1)).sum()

# SPDX-License-Identifier: MIT
"""Strategies: what is done to a batch around the host's step; one file per published system."""

from mixmask_solo.strategies.base import Branch, Strategy, Views
from mixmask_solo.strategies.registry import (
    InputFilter,
    blocks,
    build_strategies,
    extra_crops,
    fill_blocks,
    filtering,
    input_filter,
    kind_of,
    make_strategies,
    register,
    stored_filter,
)
from mixmask_solo.strategies.step import Step, seeded

__all__ = [
    "Branch",
    "InputFilter",
    "Step",
    "Strategy",
    "Views",
    "blocks",
    "build_strategies",
    "extra_crops",
    "fill_blocks",
    "filtering",
    "input_filter",
    "kind_of",
    "make_strategies",
    "register",
    "seeded",
    "stored_filter",
]

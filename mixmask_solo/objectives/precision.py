# SPDX-License-Identifier: MIT
"""Losses are computed in full precision whatever the networks run in."""

from collections.abc import Callable
from functools import wraps
from typing import Any, TypeVar

import torch
from torch import Tensor

F = TypeVar("F", bound=Callable[..., Any])


def upcast(x: Tensor) -> Tensor:
    """Half precision as float32; float32, float64 and integers as they are."""
    return x.float() if x.dtype in (torch.bfloat16, torch.float16) else x


def full_precision(fn: F) -> F:
    """Runs ``fn`` outside of autocast, with its half-precision tensors as float32.

    A softmax over 65,537 logits loses all but its first digits in bfloat16. The first positional
    argument has to be a tensor; it tells the device.
    """

    @wraps(fn)
    def inner(x: Tensor, *args: Any, **kwargs: Any) -> Any:
        with torch.autocast(x.device.type, enabled=False):
            rest = [upcast(a) if isinstance(a, Tensor) else a for a in args]
            return fn(upcast(x), *rest, **kwargs)

    return inner  # type: ignore[return-value]

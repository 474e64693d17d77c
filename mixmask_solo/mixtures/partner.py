# SPDX-License-Identifier: MIT
"""Who is mixed with whom."""

import torch
from torch import Tensor


def partner(
    kind: str,
    n: int,
    *,
    generator: torch.Generator | None = None,
    device: torch.device | str | None = None,
) -> Tensor:
    """Draws or builds the partner of each image of a batch; always a permutation.

    - ``reverse``: i and n-1-i, as published for MixMask alone and for Un-Mix; the middle one of an
      odd batch is its own partner.
    - ``random``: a uniform permutation, as published for MixMask beside Un-Mix; on average one
      image per batch is its own partner.
    - ``roll``: i and i+1, the last and the first; nobody is its own partner from n = 2 on.

    Args:
        generator: source of randomness for ``random``; torch's default where None.
        device: of the result; the generator's where None, else the CPU.

    Returns:
        ``(n,)`` int64.

    Raises:
        ValueError: for another kind, or n < 1.
    """
    if n < 1:
        raise ValueError(f"n is {n}: need at least one image")
    if device is None and generator is not None:
        device = generator.device
    if kind == "reverse":
        return torch.arange(n - 1, -1, -1, device=device)
    if kind == "random":
        return torch.randperm(n, generator=generator, device=device)
    if kind == "roll":
        return torch.arange(1, n + 1, device=device) % n
    raise ValueError(f"partner kind is {kind!r}: choose reverse, random or roll")

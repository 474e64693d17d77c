# SPDX-License-Identifier: MIT
"""What the block ``performance`` does to the networks of a run, whichever host they are of."""

from collections.abc import Callable
from typing import Any

import torch
from torch import nn

from mixmask_solo.config import ConfigError

_HEADS = ("projector", "predictor")
_NETWORKS = ("backbone", *_HEADS, "momentum_backbone", *(f"momentum_{name}" for name in _HEADS))


def apply_performance(model: nn.Module, performance: Any, device: torch.device) -> None:
    """Memory format, TF32 and compilation, in place; ``device`` is the one it will run on.

    Raises ConfigError where nothing can be compiled for the device, saying why.
    """
    if not performance.disable_channel_last:
        model.to(memory_format=torch.channels_last)
    # set either way: what an earlier run of this process asked for is not what this one records
    torch.set_float32_matmul_precision("high" if performance.tf32 else "highest")
    if performance.compile:
        _try_compiler(device)
        for name in _NETWORKS:
            network = getattr(model, name, None)
            if network is not None:
                _compile(network, model)


def _compile(network: nn.Module, model: nn.Module) -> None:
    """Compiles a network's forward pass for training; modules and their names stay.

    Not ``Module.compile``: that takes the hooks into the graph, where another hook of a later step
    is not noticed. Validation, whose last batch is of another size, needs no graphs of its own.
    """
    plain: Callable[..., Any] = network.forward
    compiled = torch.compile(plain, dynamic=False)

    def forward(*args: Any, **kwargs: Any) -> Any:
        return (compiled if model.training else plain)(*args, **kwargs)

    network.forward = forward


def _try_compiler(device: torch.device) -> None:
    """Compiles one addition: only that tells whether compiler, headers and Triton are there."""
    try:
        torch.compile(lambda x: x + 1)(torch.zeros(8, device=device))
    except Exception as error:  # a type for each compiler, and for each version of torch
        told = str(error).partition("Set TORCHDYNAMO")[0].split()
        raise ConfigError(
            f"performance.compile is true: torch {torch.__version__} cannot compile for "
            f"{device.type} here ({type(error).__name__}: {' '.join(told)[:300]}); "
            "set performance.compile=false"
        ) from error

# SPDX-License-Identifier: MIT
"""BatchNorm's statistics renewed before a network is measured (Detectron2's precise BN)."""

from collections.abc import Iterable
from typing import Any

import torch
import torch.distributed as dist
from torch import nn
from torch.nn.modules.batchnorm import _BatchNorm

from mixmask_solo.data.augmentations.randomness import mix

_SEED = 0x62617463686E6F72


def renew_statistics(
    detector: nn.Module, batches: Iterable[Any], seed: int, device: torch.device
) -> None:
    """Sets running means and variances to the plain means of those of ``batches``, in place.

    Running averages of training follow its last few steps alone, whose batches of one or two images
    are small. The weights stay, and so do the mode and the global generators. Several processes get
    the mean of what each has found.

    Args:
        batches: of ``(images, targets)`` on the CPU or already on the ``device``.
    """
    norms = [
        m for m in detector.modules() if isinstance(m, _BatchNorm) and m.running_mean is not None
    ]
    momenta, mode = [norm.momentum for norm in norms], detector.training
    devices = [device] if device.type == "cuda" else []
    with torch.no_grad(), torch.random.fork_rng(devices=devices):
        torch.manual_seed(mix(seed, _SEED) & (2**63 - 1))
        for norm in norms:
            norm.reset_running_stats()
            norm.momentum = None  # the mean of all
        detector.train()
        try:
            for images, targets in batches:
                here = [{k: v.to(device) for k, v in target.items()} for target in targets]
                detector([x.to(device) for x in images], here)
            _average(norms)
        finally:
            detector.train(mode)
            for norm, momentum in zip(norms, momenta, strict=True):
                norm.momentum = momentum


def _average(norms: list[_BatchNorm]) -> None:
    if not (dist.is_available() and dist.is_initialized()) or dist.get_world_size() == 1:
        return
    for norm in norms:
        for values in (norm.running_mean, norm.running_var):
            assert values is not None, "as chosen"
            dist.all_reduce(values)
            values /= dist.get_world_size()

# SPDX-License-Identifier: MIT
"""BatchNorm's statistics renewed before a network is measured (Detectron2's precise BN)."""

from collections.abc import Iterable
from typing import Any

import torch
from torch import nn
from torch.nn.modules.batchnorm import _BatchNorm

from mixmask_solo.data.augmentations.randomness import mix

_SEED = 0x62617463686E6F72


def renew_statistics(
    detector: nn.Module, batches: Iterable[Any], seed: int, device: torch.device
) -> None:
    """Sets running means and variances to the plain means of those of ``batches``, in place.

    Running averages of training follow its last few steps alone, whose batches of one or two images
    are small. The weights stay, and so do the mode and the global generators.

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
        finally:
            detector.train(mode)
            for norm, momentum in zip(norms, momenta, strict=True):
                norm.momentum = momentum

# SPDX-License-Identifier: MIT
r"""Split BatchNorm: one process normalises as several small ones would.

MoCo shuffles its keys across GPUs so that a query and its key never share BatchNorm statistics.
On one GPU the published small-image recipe imitates that: the batch of N images falls into S
interleaved groups, group s holding the images whose index is :math:`s \bmod S`, and each group is
normalised by its own statistics. At the CIFAR recipe's N = 512 and S = 8 that is 64 images each.

Source: MoCo's CIFAR-10 demo and Un-Mix's CIFAR code.
"""

from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor, nn
from torch.nn.modules.batchnorm import _BatchNorm


class SplitBatchNorm2d(nn.BatchNorm2d):
    """BatchNorm over each of ``splits`` interleaved groups of the batch while training.

    Weight and bias are shared. The running statistics move by the average over the groups of
    their means and unbiased variances; ``num_batches_tracked`` stays as it is, as published. In
    eval mode it is an ordinary ``BatchNorm2d``, whose ``state_dict`` and ``options`` it shares,
    except that momentum has to be a number.
    """

    momentum: float
    splits: int

    def __init__(self, num_features: int, splits: int, **options: Any) -> None:
        super().__init__(num_features, **options)
        self.splits = splits

    def forward(self, input: Tensor) -> Tensor:
        """Normalises ``input (N, C, H, W)``; the memory format stays what it was.

        Raises:
            ValueError: in training, where the groups would not be of one size.
        """
        if not self.training:
            return super().forward(input)
        n, s = len(input), self.splits
        if n % s:
            raise ValueError(
                f"a batch of {n} images does not fall into {s} equal groups of split BatchNorm: "
                "choose a batch size that is a multiple, and drop the last incomplete batch"
            )
        mean, var = self._repeat(self.running_mean), self._repeat(self.running_var)
        out = F.batch_norm(
            _groups_as_channels(input, s),
            mean,
            var,
            self._repeat(self.weight),
            self._repeat(self.bias),
            training=True,
            momentum=self.momentum,
            eps=self.eps,
        )
        with torch.no_grad():
            for running, moved in ((self.running_mean, mean), (self.running_var, var)):
                if running is not None and moved is not None:
                    running.copy_(moved.view(s, -1).mean(0))
        return _channels_as_groups(out, s)

    def _repeat(self, x: Tensor | None) -> Tensor | None:
        return None if x is None else x.repeat(self.splits)


def _groups_as_channels(x: Tensor, s: int) -> Tensor:
    """``(N, C, H, W)`` as ``(N/S, S·C, H, W)``, so that one fused kernel norms all groups.

    A view of contiguous images. Channels-last ones are copied once, in runs of C values, into a
    channels-last result: cheaper than turning them round, and the faster layout to normalise.
    """
    n, c, h, w = x.shape
    if not _is_channels_last(x):
        return x.reshape(n // s, s * c, h, w)
    groups = x.unflatten(0, (n // s, s)).permute(0, 3, 4, 1, 2)
    return groups.reshape(n // s, h, w, s * c).permute(0, 3, 1, 2)


def _channels_as_groups(x: Tensor, s: int) -> Tensor:
    """The inverse of :func:`_groups_as_channels`."""
    m, channels, h, w = x.shape
    if not _is_channels_last(x):
        return x.reshape(m * s, channels // s, h, w)
    groups = x.permute(0, 2, 3, 1).unflatten(3, (s, channels // s)).permute(0, 3, 1, 2, 4)
    return groups.reshape(m * s, h, w, channels // s).permute(0, 3, 1, 2)


def _is_channels_last(x: Tensor) -> bool:
    # A 1x1 map or a single channel fits both formats; then contiguous is a plain view.
    return not x.is_contiguous() and x.is_contiguous(memory_format=torch.channels_last)


def split_batch_norm(network: nn.Module, splits: int) -> None:
    """Makes every ``BatchNorm2d`` of ``network`` a split one, in place; 1 split changes nothing.

    Raises:
        ValueError: where there is nothing to replace, or a kind of BatchNorm that is none of
            torch's plain ones and would go on mixing the groups.
    """
    if splits == 1:
        return
    norms: dict[str, Any] = {n: m for n, m in network.named_modules() if isinstance(m, _BatchNorm)}
    plain = nn.BatchNorm2d  # itself, no class derived from it
    other = [f"{n} ({type(m).__name__})" for n, m in norms.items() if type(m) is not plain]
    if other or not norms:
        reason = f"{other[0]} is no plain BatchNorm2d" if other else "it has no BatchNorm2d"
        raise ValueError(
            f"bn_splits is {splits}: this network's normalisation cannot be split, {reason}; "
            "choose a ResNet of torchvision or timm, or bn_splits 1"
        )
    for norm in norms.values():  # the same objects with all that they hold, forward alone differs
        norm.__class__ = SplitBatchNorm2d
        norm.splits = splits

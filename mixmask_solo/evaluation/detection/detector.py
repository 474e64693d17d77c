# SPDX-License-Identifier: MIT
"""Faster R-CNN and Mask R-CNN of one ResNet: R50-C4 and the like, or with a feature pyramid."""

from collections.abc import Callable
from typing import Any

import torch
from omegaconf import DictConfig
from torch import Tensor, nn
from torchvision.models.detection.image_list import ImageList
from torchvision.ops.feature_pyramid_network import FeaturePyramidNetwork, LastLevelMaxPool

from mixmask_solo.evaluation.detection.heads import Heads, build_heads
from mixmask_solo.evaluation.detection.proposals import Proposals, build_proposals
from mixmask_solo.evaluation.detection.trunk import Trunk, channels

_MULTIPLE = 32  # that batches are padded to: strides of all levels divide it
_PYRAMID = 256  # channels of each level


class Inputs(nn.Module):
    """Images as the backbone was pretrained with, one by one: normalised, then filtered.

    What filters (MSCN's and saliency's high-pass) hooks on to this module, as on to a backbone, so
    that it sees an image without the padding of a batch.
    """

    def __init__(self, mean: list[float], std: list[float]) -> None:
        super().__init__()
        self.mean: Tensor
        self.std: Tensor
        self.register_buffer("mean", torch.tensor(mean).view(1, 3, 1, 1), persistent=False)
        self.register_buffer("std", torch.tensor(std).view(1, 3, 1, 1), persistent=False)

    def normalised(self, x: Tensor) -> Tensor:
        """(1, 3, h, w) float32 of (3, h, w) uint8."""
        scaled: Tensor = (x[None].float() / 255 - self.mean) / self.std
        return scaled

    def forward(self, x: Tensor) -> Tensor:
        """What is left as it is, but for filters."""
        return x


class Detector(nn.Module):
    """From images of any sizes to losses or detections.

    Args:
        trunk: from (N, 3, H, W) to maps by name.
        pyramid: from these maps to others; None for none.
        proposals: has anchors on all of the maps.
        heads: cut boxes out of those that they name.
    """

    def __init__(
        self,
        inputs: Inputs,
        trunk: Trunk,
        pyramid: nn.Module | None,
        proposals: Proposals,
        heads: Heads,
    ) -> None:
        super().__init__()
        self.inputs, self.trunk, self.pyramid = inputs, trunk, pyramid
        self.proposals, self.heads = proposals, heads

    def forward(self, images: list[Tensor], targets: list[dict[str, Tensor]] | None = None) -> Any:
        """In training the losses by name, each a mean over images or boxes; else of each image
        ``boxes`` (n, 4) in pixels of that image, ``scores`` and ``labels`` (n,), best first, and
        with masks ``masks`` (n, 1, m, m), probabilities within the box.

        Args:
            images: each (3, h, w) uint8.
            targets: ``boxes``, ``labels`` and perhaps ``masks``, as the data module gives them.
        """
        batch = self._padded(images)
        maps = self.trunk(batch.tensors)
        if self.pyramid is not None:
            maps = self.pyramid(maps)
        height, width = batch.tensors.shape[-2:]
        boxes, losses = self.proposals(batch, maps, targets if self.training else None)
        found, more = self.heads(maps, boxes, batch.image_sizes, (height, width), targets)
        if not self.training:
            return found
        named = {"loss_objectness": "rpn_object", "loss_rpn_box_reg": "rpn_box"}
        return {**{named[key]: value for key, value in losses.items()}, **more}

    def _padded(self, images: list[Tensor]) -> ImageList:
        """Zeros, the images' mean, to the right and below, to one size for all."""
        ready = [self.inputs(self.inputs.normalised(image)) for image in images]
        sizes = [(int(x.shape[-2]), int(x.shape[-1])) for x in ready]
        edges = [-(-max(edge) // _MULTIPLE) * _MULTIPLE for edge in zip(*sizes, strict=True)]
        like = next(self.trunk.parameters())
        layout = torch.channels_last if _channels_last(like) else torch.contiguous_format
        batch = like.new_zeros(len(ready), 3, *edges).to(memory_format=layout)
        for place, x in zip(batch, ready, strict=True):
            place[:, : x.shape[-2], : x.shape[-1]] = x[0]
        return ImageList(batch, sizes)


def _channels_last(weight: Tensor) -> bool:
    return weight.ndim == 4 and weight.is_contiguous(memory_format=torch.channels_last)


def build_detector(
    backbone: Any,
    cfg: DictConfig,
    classes: int,
    filters: Callable[[nn.Module], Any] = lambda module: None,
) -> Detector:
    """A detector whose trunk (and on C4 res5) are the backbone's own modules.

    Args:
        cfg: resolved, with ``data.mean`` and ``data.std`` filled in.
        classes: without the background.
        filters: hooks the pretraining's filters of inputs on to the module that it is given.

    Raises:
        ConfigError: for a backbone that is no ResNet.
    """
    c4 = cfg.detector.name == "c4"
    trunk = Trunk(backbone, first=3 if c4 else 1, depth=3 if c4 else 4)
    pyramid, res5 = None, None
    if c4:
        names, width, res5 = ["layer3"], channels(backbone.layer3), backbone.layer4
        of_heads = channels(res5)
    else:
        names = ["layer1", "layer2", "layer3", "layer4"]
        widths = [channels(getattr(backbone, name)) for name in names]
        pyramid = FeaturePyramidNetwork(
            widths, _PYRAMID, extra_blocks=LastLevelMaxPool(), norm_layer=nn.BatchNorm2d
        )
        width = of_heads = _PYRAMID
    proposals = build_proposals(cfg.detector, width, len(names) + (not c4))
    heads = build_heads(cfg.detector, classes + 1, res5=res5, channels=of_heads, levels=names)
    inputs = Inputs([*cfg.data.mean], [*cfg.data.std])
    filters(inputs)
    return Detector(inputs, trunk, pyramid, proposals, heads)

# SPDX-License-Identifier: MIT
"""RoIAlign on one map or on the levels of a pyramid."""

from collections.abc import Mapping, Sequence

import torch
from torch import Tensor, nn
from torchvision.ops import roi_align

from mixmask_solo.evaluation.detection.trunk import stride

_CANONICAL, _LEVEL = 224, 4  # edge of a box that belongs to the level of stride 2^4


def wide(x: Tensor) -> Tensor:
    """At least float32: in 16 bits a coordinate of 1,000 pixels is off by up to 4."""
    return x.float() if x.dtype.itemsize < 4 else x


class Pooling(nn.Module):
    """Boxes cut out of feature maps: (R, C, size, size).

    Half a pixel is taken off the coordinates (``aligned``, Detectron2's ROIAlignV2) and each cell
    is sampled as densely as the map is. Of several maps, a box uses the one that fits its size,
    ``floor(4 + log2(sqrt(area) / 224))`` (Lin et al. 2017, Eq. 1).

    Args:
        levels: names of the maps.
    """

    def __init__(self, levels: Sequence[str], size: int) -> None:
        super().__init__()
        self.levels, self.size = tuple(levels), size

    def forward(
        self, maps: Mapping[str, Tensor], boxes: list[Tensor], padded: tuple[int, int]
    ) -> Tensor:
        """``boxes``: (n, 4) of each image; ``padded``: height and width that the maps are of."""
        images = torch.cat([b.new_full((len(b), 1), i) for i, b in enumerate(boxes)])
        rois = torch.cat([images, torch.cat(boxes)], dim=1)
        chosen = [maps[name] for name in self.levels]
        strides = [stride(padded[1], x.shape[-1]) for x in chosen]
        if len(chosen) == 1:
            return self._cut(chosen[0], rois, strides[0])
        edges = ((rois[:, 3] - rois[:, 1]) * (rois[:, 4] - rois[:, 2])).sqrt()
        wanted = torch.floor(_LEVEL + torch.log2(edges / _CANONICAL + 1e-8))
        level = wanted.clamp(2, 1 + len(chosen)) - 2
        found = chosen[0].new_zeros(len(rois), chosen[0].shape[1], self.size, self.size)
        for number, (x, step) in enumerate(zip(chosen, strides, strict=True)):
            own = torch.where(level == number)[0]
            found[own] = self._cut(x, rois[own], step).to(found.dtype)
        return found

    def _cut(self, x: Tensor, rois: Tensor, step: int) -> Tensor:
        maps = wide(x)
        cut: Tensor = roi_align(
            maps,
            rois.to(maps.dtype),
            self.size,
            spatial_scale=1 / step,
            sampling_ratio=0,
            aligned=True,
        )
        return cut.to(x.dtype)

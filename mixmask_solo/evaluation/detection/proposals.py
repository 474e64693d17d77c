# SPDX-License-Identifier: MIT
"""Anchors and proposals: torchvision's, with Detectron2's defaults where the two differ."""

import torch
import torch.nn.functional as F
from omegaconf import DictConfig
from torch import Tensor
from torchvision.models.detection.anchor_utils import AnchorGenerator
from torchvision.models.detection.image_list import ImageList
from torchvision.models.detection.rpn import RegionProposalNetwork, RPNHead

from mixmask_solo.evaluation.detection.pooling import wide
from mixmask_solo.evaluation.detection.trunk import stride


class Anchors(AnchorGenerator):
    """Anchors that are not rounded to whole pixels, at strides that are powers of two."""

    def generate_anchors(  # type: ignore[no-untyped-def]
        self, scales, aspect_ratios, dtype=torch.float32, device="cpu"
    ) -> Tensor:
        """(ratios · scales, 4) around the origin, of ``scale``² pixels and ``h / w`` as given."""
        sizes = torch.as_tensor(scales, dtype=dtype, device=device)
        height = torch.as_tensor(aspect_ratios, dtype=dtype, device=device).sqrt()
        w, h = ((r[:, None] * sizes).flatten() for r in (1 / height, height))
        return torch.stack([-w, -h, w, h], dim=1) / 2

    def forward(self, image_list: ImageList, feature_maps: list[Tensor]) -> list[Tensor]:
        """The anchors of each image, all levels in a row: (anchors, 4)."""
        device, dtype = feature_maps[0].device, wide(feature_maps[0].new_empty(0)).dtype
        grids = [list(x.shape[-2:]) for x in feature_maps]
        padded = image_list.tensors.shape[-2:]
        strides = [
            [torch.tensor(stride(p, g), device=device) for p, g in zip(padded, grid, strict=True)]
            for grid in grids
        ]
        self.set_cell_anchors(dtype, device)
        anchors = torch.cat(self.grid_anchors(grids, strides))
        return [anchors] * len(image_list.image_sizes)


class ProposalHead(RPNHead):
    """torchvision's, whose scores and offsets are never of 16 bits."""

    def forward(self, x: list[Tensor]) -> tuple[list[Tensor], list[Tensor]]:
        scores, offsets = super().forward(x)
        return [*map(wide, scores)], [*map(wide, offsets)]


class Proposals(RegionProposalNetwork):
    """A region proposal network whose losses are sums over the sampled anchors, divided by how many
    are to be sampled: cross-entropy, and L1 of the offsets."""

    def compute_loss(
        self,
        objectness: Tensor,
        pred_bbox_deltas: Tensor,
        labels: list[Tensor],
        regression_targets: list[Tensor],
    ) -> tuple[Tensor, Tensor]:
        positive, negative = self.fg_bg_sampler(labels)
        foreground = torch.where(torch.cat(positive))[0]
        sampled = torch.cat([foreground, torch.where(torch.cat(negative))[0]])
        count = self.fg_bg_sampler.batch_size_per_image * len(labels)
        label, target = torch.cat(labels), torch.cat(regression_targets)
        boxes = F.l1_loss(pred_bbox_deltas[foreground], target[foreground], reduction="sum")
        objects = F.binary_cross_entropy_with_logits(
            objectness.flatten()[sampled], label[sampled], reduction="sum"
        )
        return objects / count, boxes / count


def build_proposals(cfg: DictConfig, channels: int, levels: int) -> Proposals:
    """Of a resolved configuration's block ``detector``, on maps of so many channels."""
    sizes = tuple((s,) for s in cfg.anchor_sizes) if levels > 1 else (tuple(cfg.anchor_sizes),)
    anchors = Anchors(sizes, (tuple(cfg.aspect_ratios),) * levels)
    return Proposals(
        anchors,
        ProposalHead(channels, anchors.num_anchors_per_location()[0]),
        fg_iou_thresh=0.7,
        bg_iou_thresh=0.3,
        batch_size_per_image=int(cfg.anchors_per_image),
        positive_fraction=0.5,
        pre_nms_top_n={"training": int(cfg.pre_nms_train), "testing": int(cfg.pre_nms_test)},
        post_nms_top_n={"training": int(cfg.post_nms_train), "testing": int(cfg.post_nms_test)},
        nms_thresh=float(cfg.rpn_nms),
    )

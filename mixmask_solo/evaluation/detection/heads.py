# SPDX-License-Identifier: MIT
"""Classes, boxes and masks of proposals: torchvision's RoI heads around one forward pass.

torchvision pools boxes and masks separately. On C4 both come from the same pass of res5 (as in
Detectron2), or BatchNorm's statistics and the time of a step would be others.
"""

from collections import OrderedDict
from typing import Any

import torch
import torch.nn.functional as F
from omegaconf import DictConfig
from torch import Tensor, nn
from torchvision.models.detection.faster_rcnn import FastRCNNPredictor, TwoMLPHead
from torchvision.models.detection.mask_rcnn import MaskRCNNHeads, MaskRCNNPredictor
from torchvision.models.detection.roi_heads import RoIHeads, maskrcnn_inference

from mixmask_solo.evaluation.detection.masks import mask_loss
from mixmask_solo.evaluation.detection.pooling import Pooling, wide

Maps = OrderedDict[str, Tensor]


class Heads(RoIHeads):
    """Heads on pooled boxes; ``shared`` lets the masks' head start from what the boxes' head gives,
    (R, C, h, w), whose mean over space is classified.

    Args:
        mask: from (R, C, h, w) to (R, 1 + classes, 2h, 2w); None without masks.
        mask_pool: what the masks' maps are cut out with, where they are not shared.
    """

    def __init__(
        self, *args: Any, mask: nn.Module | None, mask_pool: nn.Module | None, **kwargs: Any
    ) -> None:
        super().__init__(*args, **kwargs)
        self.mask, self.mask_pool, self.shared = mask, mask_pool, mask_pool is None

    def forward(
        self,
        features: Maps,
        proposals: list[Tensor],
        image_shapes: list[tuple[int, int]],
        padded: tuple[int, int],
        targets: list[dict[str, Tensor]] | None = None,
    ) -> tuple[list[dict[str, Tensor]], dict[str, Tensor]]:
        """Detections of each image (none in training), and losses by name (none elsewhere)."""
        if not self.training:
            return self._detections(features, proposals, image_shapes, padded), {}
        assert targets is not None, "training needs them"
        proposals, matched, labels, offsets = self.select_training_samples(proposals, targets)
        maps, logits, deltas = self._boxes(features, proposals, padded)
        losses = box_losses(logits, deltas, torch.cat(labels), torch.cat(offsets))
        if self.mask is not None:
            found = [torch.where(label > 0)[0] for label in labels]
            inside = torch.where(torch.cat(labels) > 0)[0]
            chosen = [p[i] for p, i in zip(proposals, found, strict=True)]
            masks = self._masks(features, chosen, padded, maps[inside] if self.shared else None)
            losses["mask"] = mask_loss(
                masks,
                chosen,
                [t["masks"] for t in targets],
                [label[i] for label, i in zip(labels, found, strict=True)],
                [m[i] for m, i in zip(matched, found, strict=True)],
            )
        return [], losses

    def _boxes(
        self, features: Maps, boxes: list[Tensor], padded: tuple[int, int]
    ) -> tuple[Tensor, Tensor, Tensor]:
        maps = self.box_head(self.box_roi_pool(features, boxes, padded))
        logits, deltas = self.box_predictor(maps.mean((2, 3)) if maps.ndim == 4 else maps)
        return maps, wide(logits), wide(deltas)

    def _masks(
        self, features: Maps, boxes: list[Tensor], padded: tuple[int, int], maps: Tensor | None
    ) -> Tensor:
        assert self.mask is not None, "asked with masks alone"
        if maps is None:
            assert self.mask_pool is not None, "maps are not shared"
            maps = self.mask_pool(features, boxes, padded)
        return wide(self.mask(maps))

    def _detections(
        self,
        features: Maps,
        proposals: list[Tensor],
        image_shapes: list[tuple[int, int]],
        padded: tuple[int, int],
    ) -> list[dict[str, Tensor]]:
        _, logits, deltas = self._boxes(features, proposals, padded)
        boxes, scores, labels = self.postprocess_detections(logits, deltas, proposals, image_shapes)
        found = [
            {"boxes": b, "scores": s, "labels": x}
            for b, s, x in zip(boxes, scores, labels, strict=True)
        ]
        if self.mask is not None:
            maps = None
            if self.shared:
                maps = self.box_head(self.box_roi_pool(features, boxes, padded))
            masks = maskrcnn_inference(self._masks(features, boxes, padded, maps), labels)
            for one, mask in zip(found, masks, strict=True):
                one["masks"] = mask
        return found


def box_losses(
    logits: Tensor, deltas: Tensor, labels: Tensor, offsets: Tensor
) -> dict[str, Tensor]:
    """Cross-entropy, and L1 of the foreground's offsets, both divided by the number of boxes.

    Args:
        logits: (R, 1 + classes).
        deltas: (R, 4 (1 + classes)), offsets for each class.
        labels: (R,) int64, 0 the background.
        offsets: (R, 4), the right ones.
    """
    inside = torch.where(labels > 0)[0]
    own = deltas.reshape(len(labels), -1, 4)[inside, labels[inside]]
    box = F.l1_loss(own, offsets[inside], reduction="sum") / max(1, len(labels))
    return {"class": F.cross_entropy(logits, labels), "box": box}


def build_heads(
    cfg: DictConfig, classes: int, *, res5: nn.Module | None, channels: int, levels: list[str]
) -> Heads:
    """Of a resolved configuration's block ``detector``.

    Args:
        classes: with the background.
        res5: the RoI head of C4, of so many ``channels``; None for the two layers behind a pyramid.
    """
    mask_pool: nn.Module | None = None
    mask: nn.Module | None = None
    if res5 is not None:
        box_head: nn.Module = nn.Sequential(OrderedDict(res5=res5, norm=nn.BatchNorm2d(channels)))
        pool, width = Pooling(levels, int(cfg.pool)), channels
        if cfg.mask:
            mask = MaskRCNNPredictor(channels, 256, classes)
    else:
        pool, width = Pooling(levels, int(cfg.pool)), 1024
        box_head = TwoMLPHead(channels * int(cfg.pool) ** 2, width)
        if cfg.mask:
            mask_pool = Pooling(levels, 14)
            convolutions = MaskRCNNHeads(channels, [256] * 4, 1, norm_layer=nn.BatchNorm2d)
            mask = nn.Sequential(convolutions, MaskRCNNPredictor(256, 256, classes))
    predictor = FastRCNNPredictor(width, classes)
    for layer, std in ((predictor.cls_score, 0.01), (predictor.bbox_pred, 0.001)):
        nn.init.normal_(layer.weight, std=std)
        nn.init.zeros_(layer.bias)
    if isinstance(box_head, TwoMLPHead):
        for layer in (box_head.fc6, box_head.fc7):
            nn.init.kaiming_uniform_(layer.weight, a=1)  # Caffe2's Xavier
            nn.init.zeros_(layer.bias)
    if mask is not None:
        predicts = next(m for m in mask.modules() if isinstance(m, MaskRCNNPredictor))
        nn.init.normal_(predicts.mask_fcn_logits.weight, std=0.001)
        for layer in (predicts.conv5_mask, predicts.mask_fcn_logits):
            nn.init.zeros_(layer.bias)
    return Heads(
        pool,
        box_head,
        predictor,
        fg_iou_thresh=0.5,
        bg_iou_thresh=0.5,
        batch_size_per_image=int(cfg.rois_per_image),
        positive_fraction=float(cfg.positive_fraction),
        bbox_reg_weights=(10.0, 10.0, 5.0, 5.0),
        score_thresh=float(cfg.score_threshold),
        nms_thresh=float(cfg.nms),
        detections_per_img=int(cfg.detections_per_image),
        mask=mask,
        mask_pool=mask_pool,
    )

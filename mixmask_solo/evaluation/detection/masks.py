# SPDX-License-Identifier: MIT
"""Masks within boxes: what they are trained on, and back into the image; both as Detectron2 does.

torchvision's own cut without half a pixel's shift and paste on boxes of whole pixels, which makes
small objects a sixth too large.
"""

import math

import torch
import torch.nn.functional as F
from torch import Tensor
from torchvision.ops import roi_align

_THRESHOLD = 0.5


def mask_loss(
    logits: Tensor,
    boxes: list[Tensor],
    masks: list[Tensor],
    labels: list[Tensor],
    matched: list[Tensor],
) -> Tensor:
    """Cross-entropy of each pixel of the right class' masks; 0 without boxes.

    Args:
        logits: (R, 1 + classes, m, m) of all boxes.
        boxes: (r, 4) of each image, foreground alone.
        masks: (n, h, w) of each image's objects, 1 inside.
        labels: (r,) of the boxes, from 1.
        matched: (r,) which object a box is of.
    """
    if not len(logits):
        return logits.sum() * 0
    right = torch.cat(
        [cut_masks(*each, logits.shape[-1]) for each in zip(masks, boxes, matched, strict=True)]
    )
    own = logits[torch.arange(len(logits), device=logits.device), torch.cat(labels)]
    return F.binary_cross_entropy_with_logits(own, right.to(own.dtype))


def cut_masks(masks: Tensor, boxes: Tensor, matched: Tensor, size: int) -> Tensor:
    """(r, size, size) bool: each box's part of its object's mask, see :func:`mask_loss`."""
    boxes = boxes.float()
    rois = torch.cat([matched[:, None].to(boxes), boxes], dim=1)
    cut = roi_align(masks[:, None].float(), rois, size, sampling_ratio=0, aligned=True)
    return cut[:, 0] >= _THRESHOLD


def pasted(mask: Tensor, box: Tensor, height: int, width: int) -> Tensor:
    """(height, width) bool of a mask's probabilities (m, m) in a box (4,) of the image."""
    x1, y1, x2, y2 = box.tolist()
    left, top = max(0, math.floor(x1) - 1), max(0, math.floor(y1) - 1)
    right, bottom = min(width, math.ceil(x2) + 1), min(height, math.ceil(y2) + 1)
    full = torch.zeros(height, width, dtype=torch.bool, device=mask.device)
    if right <= left or bottom <= top or x2 <= x1 or y2 <= y1:
        return full
    # centres of pixels, from -1 to 1 over the box
    across = (torch.arange(left, right, device=mask.device) + 0.5 - x1) / (x2 - x1) * 2 - 1
    down = (torch.arange(top, bottom, device=mask.device) + 0.5 - y1) / (y2 - y1) * 2 - 1
    grid = torch.stack(torch.meshgrid(across, down, indexing="xy"), dim=2)[None].float()
    found = F.grid_sample(mask[None, None].float(), grid, align_corners=False)[0, 0]
    full[top:bottom, left:right] = found >= _THRESHOLD
    return full

# SPDX-License-Identifier: MIT
"""Masks cut to boxes and pasted back: half pixels kept, small objects of their size."""

from __future__ import annotations

import math

import numpy as np
import pytest
import torch
import torch.nn.functional as F
from torch import Tensor

from mixmask_solo.evaluation.detection.masks import cut_masks, mask_loss, pasted


def ellipse(x: float, y: float, a: float, b: float, height: int, width: int) -> Tensor:
    rows, columns = np.mgrid[:height, :width] + 0.5
    return torch.from_numpy(((columns - x) / a) ** 2 + ((rows - y) / b) ** 2 <= 1)


@pytest.mark.parametrize(("radius", "least"), [(6, 0.94), (12, 0.96), (25, 0.96)])
def test_a_right_mask_comes_back(radius: int, least: float) -> None:
    """A network that gives exactly what it is trained on, at 2.5 times the size, is right."""
    scale, overlaps, areas = 2.5, [], []
    for x, y in np.random.default_rng(0).uniform(60, 80, (20, 2)):
        args = (x, y, radius, 1.2 * radius)
        box = torch.tensor([[x - radius, y - args[3], x + radius, y + args[3]]]).float()
        large = ellipse(*(scale * v for v in args), 350, 350)
        cut = cut_masks(large[None], box * scale, torch.tensor([0]), 28)
        found, right = pasted(cut[0].float(), box[0], 140, 140), ellipse(*args, 140, 140)
        overlaps.append(float((found & right).sum() / (found | right).sum()))
        areas.append(float(found.sum() / right.sum()))
    assert np.mean(overlaps) > least
    assert np.mean(areas) == pytest.approx(1, abs=0.03)


def test_pasting_is_bilinear_between_centres_of_cells() -> None:
    """By the definition, over the whole image; the part beside it is cut off."""
    generator = torch.Generator().manual_seed(0)
    mask = torch.rand(5, 5, generator=generator)
    for box in ((2.3, 4.1, 17.9, 11.2), (-6.0, -3.5, 8.0, 30.0), (30.0, 2.0, 40.0, 9.0)):
        x1, y1, x2, y2 = box
        right = torch.zeros(16, 24, dtype=torch.bool)
        padded = F.pad(mask, (1, 1, 1, 1))
        for row in range(16):
            for column in range(24):
                u = (column + 0.5 - x1) / (x2 - x1) * 5 + 0.5  # in padded cells
                v = (row + 0.5 - y1) / (y2 - y1) * 5 + 0.5
                if not (0 <= u < 6 and 0 <= v < 6):
                    continue
                i, j, du, dv = math.floor(u), math.floor(v), u % 1, v % 1
                top = padded[j, i] * (1 - du) + padded[j, i + 1] * du
                low = padded[j + 1, i] * (1 - du) + padded[j + 1, i + 1] * du
                right[row, column] = top * (1 - dv) + low * dv >= 0.5
        assert torch.equal(pasted(mask, torch.tensor(box), 16, 24), right)


def test_the_loss_is_of_the_right_class_and_object() -> None:
    masks = torch.zeros(2, 20, 20, dtype=torch.uint8)
    masks[1, :, :10] = 1
    boxes = torch.tensor([[0.0, 0.0, 20.0, 20.0]])
    logits = torch.zeros(1, 3, 4, 4, requires_grad=True)
    loss = mask_loss(logits, [boxes], [masks], [torch.tensor([2])], [torch.tensor([1])])
    assert loss.item() == pytest.approx(math.log(2))
    loss.backward()  # type: ignore[no-untyped-call]
    assert logits.grad is not None
    assert torch.count_nonzero(logits.grad[0, :2]) == 0
    assert (logits.grad[0, 2, :, :2] < 0).all()
    assert (logits.grad[0, 2, :, 2:] > 0).all()
    none = mask_loss(logits[:0], [boxes[:0]], [masks], [torch.empty(0).long()] * 1, [])
    assert none.item() == 0
    none.backward()  # type: ignore[no-untyped-call]

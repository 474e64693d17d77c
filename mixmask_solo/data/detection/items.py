# SPDX-License-Identifier: MIT
"""From an annotated image to what a detector takes: resized, perhaps mirrored, as tensors."""

from typing import Any, NamedTuple

import numpy as np
import torch
from PIL import Image
from torch import Tensor
from torch.utils.data import Dataset

from mixmask_solo.data.augmentations.randomness import keys, uniforms
from mixmask_solo.data.detection.annotations import Annotated, DetectionSource
from mixmask_solo.data.detection.coco_masks import drawn
from mixmask_solo.data.order.sampler import Key
from mixmask_solo.data.tolerance import Reader

Target = dict[str, Any]
Item = tuple[Tensor, Target]


class Sizes(NamedTuple):
    """To what size images are brought: the shorter side to one of ``short`` (drawn evenly), unless
    the longer one would exceed ``longest``."""

    short: tuple[int, ...]
    longest: int
    flip: float = 0.0  # how often images are mirrored

    def of(self, size: tuple[int, int], short: int) -> tuple[int, int]:
        """Width and height after resizing; rounded to whole pixels, as Detectron2 does."""
        scale = short / min(size)
        if max(size) * scale > self.longest:
            scale = self.longest / max(size)
        return max(1, int(size[0] * scale + 0.5)), max(1, int(size[1] * scale + 0.5))


class TrainingItems(Dataset[Item]):
    """Augmented images by (pass, number), each draw a function of seed, pass and number alone.

    An item is the image, (3, h, w) uint8, and ``boxes`` (n, 4) float32, ``labels`` (n,) int64 and
    with ``masks`` ``masks`` (n, h, w) uint8. COCO's crowds are left out.
    """

    def __init__(self, reader: Reader, sizes: Sizes, *, seed: int, masks: bool) -> None:
        self.reader, self.sizes, self.seed, self.masks = reader, sizes, seed, masks

    def __len__(self) -> int:
        return len(self.reader)

    def __getitem__(self, key: Key) -> Item:
        turn, index = key
        index, image = self.reader.pick(index, turn)
        chosen, mirrored = uniforms(keys(self.seed, turn, [index], 0), 2)[0].tolist()
        short = self.sizes.short[int(chosen * len(self.sizes.short))]
        one = _source(self.reader).annotated[index]
        return _item(image, one, self.sizes.of(image.size, short), self, mirrored < self.sizes.flip)


class StillItems(Dataset[Item | None]):
    """Images as they are measured, by number; None for one that cannot be read and is skipped.

    An item is the image, (3, h, w) uint8, and ``index`` and ``size``, width and height as stored.
    """

    def __init__(self, reader: Reader, sizes: Sizes) -> None:
        self.reader, self.sizes = reader, sizes

    def __len__(self) -> int:
        return len(self.reader)

    def __getitem__(self, index: int) -> Item | None:
        image = self.reader.read(index)
        if image is None:
            return None
        target = {"index": index, "size": image.size}
        return _pixels(image, self.sizes.of(image.size, self.sizes.short[0])), target


def collate(items: list[Any]) -> tuple[list[Tensor], list[Target]] | None:
    """A batch: images of different sizes stay a list; None where all were left out."""
    present = [item for item in items if item is not None]
    return ([x for x, _ in present], [target for _, target in present]) if present else None


def _source(reader: Reader) -> DetectionSource:
    assert isinstance(reader.source, DetectionSource)
    return reader.source


def _item(
    image: Image.Image, one: Annotated, size: tuple[int, int], items: TrainingItems, mirrored: bool
) -> Item:
    scale = (size[0] / image.width, size[1] / image.height)
    kept = ~one.crowd
    limits = np.array([*size, *size], np.float32)
    boxes = (one.boxes[kept] * np.array([*scale, *scale], np.float32)).clip(0, limits)
    pixels = _pixels(image, size)
    if mirrored:
        pixels = pixels.flip(2).contiguous()
        boxes = np.stack(
            [size[0] - boxes[:, 2], boxes[:, 1], size[0] - boxes[:, 0], boxes[:, 3]], axis=1
        )
    target: Target = {
        "boxes": torch.from_numpy(np.ascontiguousarray(boxes, np.float32)).reshape(-1, 4),
        "labels": torch.from_numpy(one.labels[kept]),
    }
    if items.masks:
        assert one.segmentations is not None, "a run with masks reads them"
        chosen = [s for s, keep in zip(one.segmentations, kept.tolist(), strict=True) if keep]
        masks = np.stack([drawn(s, size, scale) for s in chosen])
        target["masks"] = torch.from_numpy(masks[:, :, ::-1].copy() if mirrored else masks)
    return pixels, target


def _pixels(image: Image.Image, size: tuple[int, int]) -> Tensor:
    resized = image if image.size == size else image.resize(size, Image.Resampling.BILINEAR)
    return torch.from_numpy(np.array(resized)).permute(2, 0, 1).contiguous()

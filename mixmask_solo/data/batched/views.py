# SPDX-License-Identifier: MIT
"""Augmented views of whole batches, in plain torch, on whatever device the images are.

The steps are those of the pipelines ``solo`` and ``glyphs`` in their order, every one after the
crop on the images that need it alone. Random numbers come from ``augmentations.draws``: the PIL
decoder's distributions, other numbers. It rounds to 8 bits after any operation and in each blend of
the jitter; here all is float32. For equal draws of the MoCo v2 augmentation on smooth pictures
views differ by 1.2 grey levels on average, by 6 at the 99 % quantile.

No library does it: kornia draws its own numbers on the device, so that nothing could be resumed,
and torchvision works image by image, at 159 images/s on two cores where this makes 2,559
(``benchmarks/data.py``).
"""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from mixmask_solo.config import ConfigError
from mixmask_solo.config.errors import listing
from mixmask_solo.data.augmentations.draws import DRAWS, Draws
from mixmask_solo.data.augmentations.pipeline import Pipeline
from mixmask_solo.data.augmentations.randomness import keys
from mixmask_solo.data.batched.colour import equalize, grey, jitter, solarize
from mixmask_solo.data.batched.geometry import (
    Kernel,
    blur,
    box_weights,
    resample,
    resize,
    rotate,
    whole_weights,
)
from mixmask_solo.data.batched.plan import Plan, plan, to_device
from mixmask_solo.data.tasks import Task, resizing

Pixels = Callable[[NDArray[np.int64]], Tensor]
"""From some rows of a batch to (3, n, H, W) uint8 on the device that makes views."""

# By the name of the draw: images (3, k, S, S) and (k,) strengths to images.
_CHANGES: dict[str, Callable[[Tensor, Tensor], Tensor]] = {
    "angle": rotate,
    "gray": lambda x, _: grey(x).expand(3, -1, -1, -1),
    "sigma": blur,
    "solarize": lambda x, _: solarize(x),
    "equalize": lambda x, _: equalize(x),
}

# Views that are worked on together on the CPU: their planes should stay in its cache.
_PIXELS_AT_ONCE = 1 << 17


@dataclass(frozen=True)
class View:
    """One view of each image of a batch: number ``number`` of its image's views.

    ``shorter`` is a length, at least the view's, to which the shorter side of a whole image is
    brought before the centre is cut out; None to bring the drawn box to the view's size.
    """

    pipeline: Pipeline
    number: int = 0
    shorter: int | None = None
    channels_last: bool = False

    @property
    def size(self) -> int:
        """Edge of the view in pixels."""
        return self.pipeline.crop_size

    @property
    def kernel(self) -> Kernel:
        """Of the resize."""
        options: Any = self.pipeline.options
        kernel: Kernel = options.rrc.interpolation
        return kernel

    def draw(
        self, sizes: NDArray[np.int64], seed: int, epoch: int, indexes: NDArray[np.int64]
    ) -> Draws:
        """The random numbers of the view, one row an image of (n, 2) height and width."""
        key = keys(seed, epoch, indexes, self.number)
        return DRAWS[self.pipeline.name](self.pipeline.options, sizes, key)

    @torch.no_grad()
    def make(
        self, pixels: Pixels, draws: Draws, device: torch.device, *, cropped: bool = False
    ) -> Tensor:
        """The views of a batch of draws, (n, 3, size, size) float32, normalised.

        ``pixels`` puts images on ``device``, or, where ``cropped``, squares that are flipped
        already.
        """
        count = len(draws.box)
        layout = torch.channels_last if self.channels_last else torch.contiguous_format
        shape = (count, 3, self.size, self.size)
        result = torch.empty(shape, device=device, memory_format=layout)
        step = max(1, _PIXELS_AT_ONCE // self.size**2 if device.type == "cpu" else count)
        for first in range(0, count, step):
            part = slice(first, first + step)
            chosen = plan(draws.rows(part), device)
            planes = torch.mul(pixels(first + chosen.rows), 1.0 / 255.0)
            if not cropped:
                planes = self._cropped(planes, chosen)
            _apply(planes, chosen, "angle")
            if not self.pipeline.colour_first:
                _colours(planes, chosen)
            _apply(planes, chosen, "sigma", "solarize", "equalize")
            self._finish(planes, chosen.back, result[part])
        return result

    @torch.no_grad()
    def unaugmented(self, pixels: Tensor) -> Tensor:
        """Whole images (3, N, H, W) uint8 as ``tasks.unaugmented`` makes (N, 3, size, size)."""
        height, width = pixels.shape[2:]
        if self.shorter is not None or (height, width) != (self.size, self.size):
            axes = whole_weights(height, width, self.size, self.kernel, self.shorter)
            pixels = resize(pixels, *axes)
        result = pixels.transpose(0, 1).to(torch.float32, memory_format=torch.contiguous_format)
        statistics = np.array([self.pipeline.mean, self.pipeline.std], dtype=np.float32)
        mean, std = to_device(statistics[..., None, None], result.device)
        return result.div_(255).sub_(mean).div_(std)

    def _cropped(self, planes: Tensor, chosen: Plan) -> Tensor:
        height, width = planes.shape[2:]
        if self.pipeline.colour_first:
            _colours(planes, chosen)
        if self.shorter is None:
            top, left, tall, wide = chosen.box
            down = box_weights(top, tall, height, self.size, self.kernel)
            across = box_weights(left, wide, width, self.size, self.kernel, chosen.flip)
            return resample(planes, down, across)
        whole = whole_weights(height, width, self.size, self.kernel, self.shorter)
        down, across = (to_device(axis.float().numpy(), planes.device) for axis in whole)
        both = torch.stack([across, across.flip(0)])
        return resample(planes, down[None], both.index_select(0, chosen.flip.long()))

    def _finish(self, planes: Tensor, back: Tensor, result: Tensor) -> None:
        """Normalises, and puts the views where they belong."""
        for plane, mean, std in zip(planes, self.pipeline.mean, self.pipeline.std, strict=True):
            plane.mul_(1.0 / std).sub_(mean / std)
        result.copy_(planes.index_select(1, back).transpose(0, 1))


def views_of(pipelines: Sequence[Pipeline], *, channels_last: bool = False) -> list[View]:
    """The views of pipelines that can be drawn, numbered as the PIL decoder numbers them."""
    views: list[View] = []
    for pipeline in pipelines:
        options: Any = pipeline.options
        shorter = None if options.rrc.enabled else pipeline.crop_size
        for _ in range(pipeline.num_crops):
            views.append(View(pipeline, len(views), shorter, channels_last))
    return views


def unaugmented_view(task: Task) -> View:
    """The un-augmented images of a task."""
    shorter, _ = resizing(task.dataset, task.still.crop_size)
    return View(task.still, shorter=shorter)


def require_draws(pipelines: Sequence[Pipeline], form: str, otherwise: str) -> None:
    """Refuses pipelines that exist for single images alone; ``form`` is the decoder's setting.

    Raises:
        ConfigError: naming the first one, and what to choose ``otherwise``.
    """
    for pipeline in pipelines:
        if pipeline.name not in DRAWS:
            raise ConfigError(
                f"{pipeline.key}.pipeline is {pipeline.name!r}, which {form} cannot make: choose "
                f"{listing(sorted(DRAWS))}, or {otherwise}"
            )


def _colours(planes: Tensor, chosen: Plan) -> None:
    """Jitter and grey, in place."""
    if chosen.jittered:
        jitter(planes[:, : chosen.jittered], chosen.blends, chosen.hues, chosen.turns)
    _apply(planes, chosen, "gray")


def _apply(planes: Tensor, chosen: Plan, *names: str) -> None:
    """Changes the images that drew it, in place."""
    for name in names:
        if name in chosen.groups:
            places, strengths = chosen.groups[name]
            changed = _CHANGES[name](planes.index_select(1, places), strengths)
            planes.index_copy_(1, places, changed)

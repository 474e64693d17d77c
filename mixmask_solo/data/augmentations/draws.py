# SPDX-License-Identifier: MIT
"""What a batch of views is made with: crops, factors, orders, drawn apart from being applied.

Decoders that work on batches (``resident``, ``dali``) differ in how they make pixels, but not in
what they are asked for. The distributions are those of torchvision's transforms, which draw once
for a whole batch.
"""

from collections.abc import Callable, Sequence
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from mixmask_solo.config.schema.augmentations import ColorJitter, Crop, GlyphOptions, SoloOptions
from mixmask_solo.data.augmentations.randomness import uniforms

_ATTEMPTS = 10
_RATIO = (3 / 4, 4 / 3)
_BOX = 4 * _ATTEMPTS

Floats = NDArray[np.float64]


class Draws(NamedTuple):
    """One row a view, N of them."""

    box: NDArray[np.int64]  # (N, 4) top, left, height, width in the stored image; all of it if off
    flip: NDArray[np.bool_]
    jitter: NDArray[np.bool_]  # whether colours are changed at all
    order: NDArray[np.int64]  # (N, 4) of brightness 0, contrast 1, saturation 2, hue 3
    factors: Floats  # (N, 4) of the first three, shift of the hue in turns
    gray: NDArray[np.bool_]
    sigma: Floats  # deviation of the blur in pixels of the view, 0 for none
    solarize: NDArray[np.bool_]
    equalize: NDArray[np.bool_]
    angle: Floats  # counter-clockwise turn after the crop in degrees, 0 for none

    def rows(self, which: NDArray[np.int64] | slice) -> "Draws":
        """Some of the views, in the order given."""
        return Draws._make(column[which] for column in self)

    @staticmethod
    def join(parts: Sequence["Draws"]) -> "Draws":
        """The views of all parts, one part after the other."""
        return Draws._make(np.concatenate(columns) for columns in zip(*parts, strict=True))


def draw_solo(options: SoloOptions, sizes: NDArray[np.int64], key: NDArray[np.uint64]) -> Draws:
    """One view of each image of (N, 2) height and width, by the (N,) ``randomness.keys``."""
    draws, u = _crop_and_jitter(options, sizes, key)
    low, high = options.gaussian_blur.sigma
    blurred = u[:, 0] < options.gaussian_blur.prob
    return draws._replace(
        sigma=np.where(blurred, low + (high - low) * u[:, 1], 0.0),
        flip=u[:, 2] < options.horizontal_flip.prob,
        gray=u[:, 12] < options.grayscale.prob,
        solarize=u[:, 13] < options.solarization.prob,
        equalize=u[:, 14] < options.equalization.prob,
    )


def draw_glyphs(options: GlyphOptions, sizes: NDArray[np.int64], key: NDArray[np.uint64]) -> Draws:
    """One view of each image, see :func:`draw_solo`."""
    draws, u = _crop_and_jitter(options, sizes, key)
    turn = options.rotation
    if turn is None:
        return draws
    turned = u[:, 0] < turn.prob
    return draws._replace(angle=np.where(turned, turn.degrees * (2 * u[:, 1] - 1), 0.0))


Drawing = Callable[[Any, NDArray[np.int64], NDArray[np.uint64]], Draws]
DRAWS: dict[str, Drawing] = {"solo": draw_solo, "glyphs": draw_glyphs}
"""By the pipeline's registered name."""


def _crop_and_jitter(
    options: SoloOptions | GlyphOptions, sizes: NDArray[np.int64], key: NDArray[np.uint64]
) -> tuple[Draws, Floats]:
    """What both pipelines draw, nothing else happening, and the numbers after those of the crop."""
    u = uniforms(key, _BOX + 16)
    box, u = random_resized_boxes(options.rrc, sizes, u[:, :_BOX]), u[:, _BOX:]
    never, zero = np.zeros(len(key), dtype=np.bool_), np.zeros(len(key))
    draws = Draws(
        box,
        flip=never,
        jitter=u[:, 3] < options.color_jitter.prob,
        order=np.argsort(u[:, 4:8], axis=1),
        factors=_factors(options.color_jitter, u[:, 8:12]),
        gray=never,
        sigma=zero,
        solarize=never,
        equalize=never,
        angle=zero,
    )
    return draws, u


def random_resized_boxes(options: Crop, sizes: NDArray[np.int64], u: Floats) -> NDArray[np.int64]:
    """torchvision's ``RandomResizedCrop.get_params`` for images of (N, 2) height and width.

    ``u`` are (N, 40) uniforms: area, aspect ratio, top, left, ten attempts of each.

    Returns:
        (N, 4) top, left, height, width: of the first attempt that fits into the image, else the
        largest centred box within the range of ratios; of the whole image where crops are off.
    """
    if not options.enabled:
        return np.concatenate([np.zeros_like(sizes), sizes], axis=1)
    area, ratio, top, left = np.split(u, 4, axis=1)
    low, high = options.crop_min_scale, options.crop_max_scale
    target = sizes.prod(axis=1, keepdims=True) * (low + (high - low) * area)
    aspect = np.exp(np.log(_RATIO[0]) + np.log(_RATIO[1] / _RATIO[0]) * ratio)
    edges = np.stack([target / aspect, target * aspect], axis=2)  # (N, 10, 2), as the next ones
    inner = np.rint(np.sqrt(edges)).astype(np.int64)
    outer = sizes[:, None]
    corner = np.floor(np.stack([top, left], axis=2) * (outer - inner + 1)).astype(np.int64)
    fits = ((inner > 0) & (inner <= outer)).all(axis=2)
    tried = np.concatenate([corner, inner], axis=2)
    chosen = tried[np.arange(len(u)), fits.argmax(axis=1)]
    largest = np.minimum(sizes, np.rint(sizes[:, ::-1] * _RATIO[1]).astype(np.int64))
    central = np.concatenate([(sizes - largest) // 2, largest], axis=1)
    return np.where(fits.any(axis=1)[:, None], chosen, central)


def _factors(options: ColorJitter, u: Floats) -> Floats:
    strength = np.array([options.brightness, options.contrast, options.saturation])
    low = np.append(np.maximum(0.0, 1.0 - strength), -options.hue)
    high = np.append(1.0 + strength, options.hue)
    return low + (high - low) * u

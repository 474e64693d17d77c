# SPDX-License-Identifier: MIT
"""What a detector found beside what is there, drawn on the images."""

from importlib.resources import files
from pathlib import Path
from typing import Any

import numpy as np
from matplotlib import style
from matplotlib.axes import Axes
from matplotlib.colors import to_rgb
from matplotlib.figure import Figure
from matplotlib.patches import Rectangle
from numpy.typing import NDArray
from PIL import Image

from mixmask_solo.config.files import read_json, replacing
from mixmask_solo.report.palette import COLORS, INK

PICTURE = "detections.png"
_WIDTH = 4.0  # inches of an image
_OPACITY = 0.4
_ROOM = 0.05  # of an image's height, for a label above its box


def draw_detections(file: Path) -> Path:
    """A picture beside ``file``, a run's ``detections.json``: a row an image, truth on the left.

    Raises:
        ValueError: for a file of something else.
    """
    content = read_json(file)
    if not content.get("images"):
        raise ValueError(f"{file} holds no detections")
    classes, images = content["classes"], content["images"]
    pixels = [np.asarray(Image.open(one["file"]).convert("RGB")) for one in images]
    heights = [_WIDTH * x.shape[0] / x.shape[1] for x in pixels]
    out = file.with_name(PICTURE)
    with style.context(str(files("mixmask_solo.report") / "pictures.mplstyle")):
        figure = Figure(figsize=(2 * _WIDTH + 0.1, sum(heights) + 0.4), layout="constrained")
        axes = figure.subplots(len(images), 2, squeeze=False, height_ratios=heights)
        for row, (one, image) in enumerate(zip(images, pixels, strict=True)):
            for side, name in enumerate(("truth", "found")):
                _draw(axes[row][side], image, one[name], classes)
        axes[0][0].set_title("truth", fontsize=10)
        least = content["least_score"]
        axes[0][1].set_title(f"found, with a score of {least:g} at least", fontsize=10)
        with replacing(out) as temporary:
            figure.savefig(temporary, format="png", dpi=110)
    return out


def _draw(axes: Axes, image: NDArray[Any], rows: list[dict[str, Any]], classes: list[str]) -> None:
    axes.imshow(_masked(image, rows))
    axes.set_axis_off()
    for row in rows:
        x1, y1, x2, y2 = row["box"]
        color = _color(row)
        axes.add_patch(Rectangle((x1, y1), x2 - x1, y2 - y1, fill=False, ec=color, lw=1.2))
        score = f" {row['score']:.2f}" if "score" in row else ""
        inside = y1 < _ROOM * image.shape[0]  # else cut by the picture's edge
        axes.text(
            max(x1, 0),
            max(y1, 0),
            f"{classes[row['label'] - 1]}{score}",
            fontsize=6,
            color="white",
            verticalalignment="top" if inside else "bottom",
            bbox={"facecolor": color, "edgecolor": INK, "linewidth": 0, "pad": 0.6},
            clip_on=True,
        )


def _masked(image: NDArray[Any], rows: list[dict[str, Any]]) -> NDArray[Any]:
    """The image, tinted where there are masks."""
    tinted = image.astype(np.float64) / 255
    for row in rows:
        if "mask" in row:
            from pycocotools import mask as masks

            inside = masks.decode(row["mask"]).astype(bool)
            tinted[inside] += _OPACITY * (np.array(to_rgb(_color(row))) - tinted[inside])
    return tinted


def _color(row: dict[str, Any]) -> str:
    return COLORS[(row["label"] - 1) % len(COLORS)]

# SPDX-License-Identifier: MIT
"""What images are for: a task says which views are made of which split; a decoder makes them.

Un-augmented images and a probe's training images are fixed by the protocols.
"""

from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from typing import Any

from torchvision import transforms
from torchvision.transforms import InterpolationMode

from mixmask_solo.config import ConfigError
from mixmask_solo.config.check import get
from mixmask_solo.config.datasets import DatasetInfo, data_block, info
from mixmask_solo.config.rules import extra_crops
from mixmask_solo.config.schema.augmentations import Chance, Crop, SoloOptions
from mixmask_solo.data.augmentations.pipeline import Pipeline, assemble, build_all
from mixmask_solo.data.batched.geometry import Kernel
from mixmask_solo.data.sources import Source, Split
from mixmask_solo.data.sources.few_labels import few_labels


@dataclass(frozen=True)
class Task:
    """Views of training, and what un-augmented images look like.

    Attributes:
        split: what training reads.
        dataset: facts of the images, which say how they are brought to a size.
        pipelines: in the order of their views.
        labelled: whether a training batch is ``[x (N, 3, H, W), targets (N,)]``, as un-augmented
            ones always are, in place of ``[indexes (N,), [view_1, ..., view_V] each (N, 3, H, W),
            targets (N,)]``. Images are float32 and normalised.
        holdout: share of each class of the training images that is kept apart; None for none.
        choose: which of the training images are used, in the place of ``data.fraction``.
    """

    split: Split
    dataset: DatasetInfo
    pipelines: list[Pipeline]
    labelled: bool
    holdout: float | None = None
    choose: Callable[[Source], Source] | None = None

    @property
    def still(self) -> Pipeline:
        """The un-augmented image at the size and with the statistics of the first view."""
        first = self.pipelines[0]
        size = first.crop_size
        _, kernel = resizing(self.dataset, size)
        return replace(
            first,
            transform=unaugmented(self.dataset, size, first.mean, first.std),
            num_crops=1,
            name="solo",
            options=SoloOptions(size, rrc=Crop(enabled=False, interpolation=kernel)),
        )


def pretraining(cfg: Any) -> Task:
    """The views that ``augmentations`` asks for, then the crops that strategies take.

    Raises:
        ConfigError: for anything wrong there, or an unknown data set.
    """
    dataset = info(data_block(cfg)["dataset"])
    views = build_all(get(cfg, "augmentations"), dataset)
    more = extra_crops(views, get(cfg, "data.num_extra_crops", 0))
    views += [replace(views[i], num_crops=1) for i in more]
    return Task("pretrain", dataset, views, labelled=False)


def probe(cfg: Any) -> Task:
    """One random crop of each labelled image.

    Size and statistics are those of ``data.augmentations`` (``crop_size``, ``mean``, ``std``),
    else of the first entry of ``augmentations``, with which the network was pretrained, else of
    the data set. Its ``resize`` and ``interpolation`` replace the data set's usual ones.

    Raises:
        ConfigError: for anything wrong there, or an unknown data set.
    """
    key = "data.augmentations"
    dataset = info(data_block(cfg)["dataset"])
    own = get(cfg, key, {})
    dataset = replace(dataset, resize=own.get("resize"), interpolation=own.get("interpolation"))
    pretrained = get(cfg, "augmentations")
    listed = isinstance(pretrained, list) and pretrained and isinstance(pretrained[0], dict)
    view = (pretrained[0] if listed else {}) | own
    size = int(view.get("crop_size") or dataset.size)
    if (dataset.resize or size) < size:
        raise ConfigError(
            f"{key}.resize is {dataset.resize}: the images' centre of {size} pixels is cut out of "
            f"it; give at least {size}"
        )
    options = replace(probe_options(dataset, size), mean=view.get("mean"), std=view.get("std"))
    views = [assemble("solo", options, dataset, key)]
    return Task("train", dataset, views, labelled=True, holdout=get(cfg, "probe.holdout"))


def finetuning(cfg: Any) -> Task:
    """The views of :func:`probe` of the images that ``data.labels`` and ``data.fraction`` choose.

    Raises:
        ConfigError: as there, and for a list of names that cannot be read.
    """
    block = data_block(cfg)
    choose = few_labels(
        str(block.get("labels") or "100percent"),
        float(block.get("fraction") or -1),
        int(get(cfg, "seed", 5)),
        block["dataset"],
    )
    return replace(probe(cfg), choose=choose)


def resizing(dataset: DatasetInfo, size: int) -> tuple[int | None, Kernel]:
    """How a test image is brought to ``size``: length of its shorter side before the centre is cut.

    None for the length: both sides are brought to ``size``, whatever their ratio.
    """
    shorter = dataset.resize
    if shorter is None and dataset.center_crop:
        shorter = round(size * 256 / 224)
    usual: Kernel = "bilinear" if dataset.center_crop else "bicubic"
    return shorter, dataset.interpolation or usual


def unaugmented(
    dataset: DatasetInfo, size: int, mean: Sequence[float], std: Sequence[float]
) -> transforms.Compose:
    """The un-augmented PIL image as a (3, size, size) float32 tensor.

    Natural images of any size: shorter side to ``size * 256 / 224``, then the centre (so for 224
    the papers' 256 and 224). Data sets of one size: the image as it is, resized only where the
    network sees another size than the data set's.
    """
    shorter, kernel = resizing(dataset, size)
    edges = (size, size) if shorter is None else shorter
    steps = [transforms.Resize(edges, interpolation=InterpolationMode(kernel))]
    if shorter is not None:
        steps.append(transforms.CenterCrop(size))
    return transforms.Compose([*steps, transforms.ToTensor(), transforms.Normalize(mean, std)])


def probe_options(dataset: DatasetInfo, size: int) -> SoloOptions:
    """What a linear probe trains on: random resized crop and, where it makes sense, flip.

    As solo-learn and the papers have it (scale 0.08 to 1, bilinear); milder for written characters.
    """
    mode: Kernel = dataset.interpolation or ("bilinear" if dataset.flip else "bicubic")
    return SoloOptions(
        crop_size=size,
        rrc=Crop(crop_min_scale=dataset.min_scale, interpolation=mode),
        horizontal_flip=Chance(0.5 if dataset.flip else 0.0),
    )

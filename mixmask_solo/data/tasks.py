# SPDX-License-Identifier: MIT
"""What images are for: a task says which views are made of which split; a decoder makes them."""

from dataclasses import dataclass, replace
from typing import Any

from mixmask_solo.config import ConfigError
from mixmask_solo.config.datasets import DatasetInfo, info
from mixmask_solo.config.schema.augmentations import Crop, SoloOptions
from mixmask_solo.data.augmentations import Pipeline, assemble, build_all
from mixmask_solo.data.augmentations.standard import probe_options, resizing, unaugmented
from mixmask_solo.data.block import data_block, get
from mixmask_solo.data.sources import Split


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
    """

    split: Split
    dataset: DatasetInfo
    pipelines: list[Pipeline]
    labelled: bool

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
    """The views that ``augmentations`` asks for.

    Raises:
        ConfigError: for anything wrong there, or an unknown data set.
    """
    dataset = info(data_block(cfg)["dataset"])
    return Task("pretrain", dataset, build_all(get(cfg, "augmentations"), dataset), labelled=False)


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
    return Task("train", dataset, [assemble("solo", options, dataset, key)], labelled=True)

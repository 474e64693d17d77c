# SPDX-License-Identifier: MIT
"""Images: sources, augmentations, batches.

``build_pretrain`` and ``build_classification`` make Lightning data modules from a configuration;
``source`` gives single images. A task says which views, a decoder makes them; ``data.format``
chooses it.
"""

from mixmask_solo.config.datasets import DATASETS, DatasetInfo, info
from mixmask_solo.data.decoders import build_classification, build_pretrain
from mixmask_solo.data.identity import identity
from mixmask_solo.data.module import ImageData
from mixmask_solo.data.sources import ImageError, Source, source
from mixmask_solo.data.tolerance import Tolerance

__all__ = [
    "DATASETS",
    "DatasetInfo",
    "ImageData",
    "ImageError",
    "Source",
    "Tolerance",
    "build_classification",
    "build_pretrain",
    "identity",
    "info",
    "source",
]

# SPDX-License-Identifier: MIT
"""Images: sources, augmentations, batches.

``build_pretrain``, ``build_classification`` and ``build_finetuning`` make Lightning data modules
from a configuration; ``source`` gives single images. A task says which views, a decoder makes them;
``data.format`` chooses it.
"""

from mixmask_solo.data.decoders import build_classification, build_finetuning, build_pretrain
from mixmask_solo.data.identity import identity
from mixmask_solo.data.module import ImageData
from mixmask_solo.data.sources import ImageError, source
from mixmask_solo.data.tolerance import Tolerance

__all__ = [
    "ImageData",
    "ImageError",
    "Tolerance",
    "build_classification",
    "build_finetuning",
    "build_pretrain",
    "identity",
    "source",
]

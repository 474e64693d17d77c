# SPDX-License-Identifier: MIT
"""The decoders, peers of each other, and the data module that a configuration asks for.

``data.format`` names a decoder (``dali``, ``resident``) or how images are stored; for the latter
Pillow decodes.
"""

from typing import Any

from mixmask_solo.data.block import data_block
from mixmask_solo.data.module import Decoder, ImageData
from mixmask_solo.data.sources.storage import storage
from mixmask_solo.data.tasks import Task, pretraining, probe

__all__ = ["build_classification", "build_pretrain"]


def build_pretrain(cfg: Any) -> ImageData:
    """The data of a pretraining run; files are looked at in ``setup``.

    Raises:
        ConfigError: for anything wrong in the keys it reads.
    """
    return _build(cfg, pretraining(cfg))


def build_classification(cfg: Any) -> ImageData:
    """The data of a probe, from its configuration or from that of the pretraining.

    Raises:
        ConfigError: as for :func:`build_pretrain`.
    """
    return _build(cfg, probe(cfg))


def _build(cfg: Any, task: Task) -> ImageData:
    """Imports only the decoder that is asked for."""
    chosen: Decoder
    block = data_block(cfg)
    storage(block)  # refuses an unknown format
    if block.get("format") == "dali":
        from mixmask_solo.data.decoders.dali import Dali

        chosen = Dali(cfg, task)
    elif block.get("format") == "resident":
        from mixmask_solo.data.decoders.resident import Resident

        chosen = Resident(cfg, task)
    else:
        from mixmask_solo.data.decoders.pil import Pil

        chosen = Pil()
    return ImageData(cfg, task, chosen)

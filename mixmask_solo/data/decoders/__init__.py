# SPDX-License-Identifier: MIT
"""The decoders, peers of each other, and the data module that a configuration asks for.

``data.format`` names a decoder (``dali``, ``resident``) or how images are stored; for the latter
Pillow decodes.
"""

from dataclasses import replace
from typing import Any

from mixmask_solo.config.check import get
from mixmask_solo.data.module import ImageData
from mixmask_solo.data.sources import Split
from mixmask_solo.data.tasks import Task, finetuning, pretraining, probe


def build_pretrain(cfg: Any, split: Split | None = None) -> ImageData:
    """The data of a pretraining run, or the same views of another ``split``'s images.

    Files are looked at in ``setup``.

    Raises:
        ConfigError: for anything wrong in the keys it reads.
    """
    task = pretraining(cfg)
    return _build(cfg, task if split is None else replace(task, split=split))


def build_classification(cfg: Any) -> ImageData:
    """The data of a probe, from its configuration or from that of the pretraining.

    Raises:
        ConfigError: as for :func:`build_pretrain`.
    """
    return _build(cfg, probe(cfg))


def build_finetuning(cfg: Any) -> ImageData:
    """The data of fine-tuning: a probe's, of the images whose labels it may use.

    Raises:
        ConfigError: as for :func:`build_pretrain`, and for a list of names that cannot be read.
    """
    return _build(cfg, finetuning(cfg))


def _build(cfg: Any, task: Task) -> ImageData:
    """Imports only the decoder that is asked for."""
    form = get(cfg, "data.format")
    if form == "dali":
        from mixmask_solo.data.decoders.dali.decoder import Dali

        return ImageData(cfg, task, Dali(cfg, task))
    if form == "resident":
        from mixmask_solo.data.decoders.resident.decoder import Resident

        return ImageData(cfg, task, Resident(task))
    from mixmask_solo.data.decoders.pil import Pil

    return ImageData(cfg, task, Pil())

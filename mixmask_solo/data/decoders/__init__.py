# SPDX-License-Identifier: MIT
"""The data module that a configuration asks for: one class a decoder.

``data.format`` names a decoder (``dali``, ``resident``) or how images are stored; for the latter
Pillow decodes.
"""

from __future__ import annotations

from typing import Any

from mixmask_solo.data.block import data_block
from mixmask_solo.data.decoders.pil import ClassificationData, PretrainData
from mixmask_solo.data.sources.storage import DECODERS, storage

__all__ = ["build_classification", "build_pretrain", "decoder"]


def decoder(cfg: Any) -> str:
    """``pil``, ``dali`` or ``resident``.

    Raises:
        ConfigError: for an unknown format or storage.
    """
    block = data_block(cfg)
    storage(block)
    form = block.get("format")
    return form if form in DECODERS else "pil"


def build_pretrain(cfg: Any) -> PretrainData:
    """The data of a pretraining run.

    Args:
        cfg: a pretraining configuration.

    Raises:
        ConfigError: for anything wrong in the keys it reads; files are looked at in ``setup``.
    """
    chosen = decoder(cfg)
    if chosen == "dali":
        from mixmask_solo.data.decoders.dali import DaliPretrain

        return DaliPretrain(cfg)
    if chosen == "resident":
        from mixmask_solo.data.decoders.resident import ResidentPretrain

        return ResidentPretrain(cfg)
    return PretrainData(cfg)


def build_classification(cfg: Any) -> ClassificationData:
    """The data of a probe.

    Args:
        cfg: a configuration of a probe, or that of the pretraining.

    Raises:
        ConfigError: for anything wrong in the keys it reads; files are looked at in ``setup``.
    """
    chosen = decoder(cfg)
    if chosen == "dali":
        from mixmask_solo.data.decoders.dali import DaliClassification

        return DaliClassification(cfg)
    if chosen == "resident":
        from mixmask_solo.data.decoders.resident import ResidentClassification

        return ResidentClassification(cfg)
    return ClassificationData(cfg)

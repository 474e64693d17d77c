# SPDX-License-Identifier: MIT
"""What a probe and fine-tuning start from: the checkpoint that their configuration names."""

from pathlib import Path
from typing import Any

from omegaconf import DictConfig

from mixmask_solo.config import ConfigError
from mixmask_solo.records.pretrained import START, Pretrained, find_checkpoint, read_pretrained
from mixmask_solo.records.weights import backbone_block
from mixmask_solo.strategies import filtering


def name_file(values: dict[str, Any]) -> None:
    """Puts the checkpoint in the place of a run's folder."""
    path = values.get(START)
    if isinstance(path, str) and Path(path).expanduser().is_dir():
        values[START] = str(find_checkpoint(path))


def read_start(resolved: DictConfig, values: dict[str, Any]) -> Pretrained:
    """Reads the checkpoint, and completes ``resolved`` by what it tells.

    That is the ``backbone`` block, those of the pretraining's ``method_kwargs`` that filter inputs,
    for whoever rebuilds the network from the new run, and on the pretraining's data set size and
    statistics of the images, where ``values``, as the user wrote them, say nothing else.

    Raises:
        ConfigError: naming the key where the file cannot be read or tells of another network.
    """
    try:
        pretrained = read_pretrained(resolved[START], resolved.evaluate)
    except ConfigError as error:
        raise ConfigError(f"{START}: {error}") from error
    resolved.backbone = backbone_block(pretrained, values.get("backbone"))
    if pretrained.data.get("dataset") == resolved.data.dataset:
        view = (values.get("data") or {}).get("augmentations") or {}
        resolved.data.augmentations = {**pretrained.view, **view}
    kwargs = pretrained.config.get("method_kwargs") or {}
    filters = filtering(kwargs) if pretrained.filters is None else pretrained.filters
    if filters:
        resolved.method_kwargs = {name: kwargs[name] for name in filters}
    return pretrained

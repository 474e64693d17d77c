# SPDX-License-Identifier: MIT
"""The images a network is measured on: those it was pretrained on, unless the user says others."""

from collections.abc import Mapping
from dataclasses import fields
from typing import Any

from omegaconf import OmegaConf

from mixmask_solo.config import ConfigError, check, with_defaults
from mixmask_solo.config.schema.data import LinearData
from mixmask_solo.data import ImageData, build_classification
from mixmask_solo.data.sources.storage import has_columns
from mixmask_solo.evaluation.pretrained import Pretrained


def evaluation_data(pretrained: Pretrained, given: Mapping[str, Any], batch_size: int) -> ImageData:
    """Labelled images, un-augmented, of the size and statistics the network knows.

    Args:
        pretrained: its configuration's ``data`` and first view are the defaults.
        given: keys of ``data``. Another ``dataset`` than the stored one forgets the stored paths,
            size and statistics. Images at a given path have labels, whatever the pretraining's had.

    Raises:
        ConfigError: naming the key of ``data`` that is missing or wrong.
    """
    config = pretrained.config
    # A network pretrained on a part of the images is still measured with all of them.
    known = {f.name for f in fields(LinearData)} - {"fraction"}
    stored = {k: v for k, v in (config.get("data") or {}).items() if k in known}
    wanted = {k: v for k, v in given.items() if v is not None}
    other = wanted.get("dataset", stored.get("dataset")) != stored.get("dataset")
    if other:
        stored = {}
    if "train_path" in wanted and not has_columns({**stored, **wanted}):
        stored = {k: v for k, v in stored.items() if k not in ("image_column", "label_column")}
    if "dataset" not in {**stored, **wanted}:
        raise ConfigError(
            f"data.dataset is missing: checkpoint '{pretrained.path}' does not say what it was "
            "trained on, and there is no args.json beside it"
        )
    if stored.pop("no_labels", False) and "train_path" not in wanted:
        raise ConfigError(
            f"data.train_path is missing: checkpoint '{pretrained.path}' was pretrained with "
            "data.no_labels, and k-NN needs labelled images"
        )
    values = {**stored, **wanted}
    block = with_defaults(values, check(values, LinearData, "data"))
    if not other and not (values.get("augmentations") or {}).get("crop_size"):
        block["augmentations"] = first_view(config) or block["augmentations"]
    cfg = {"data": block, "optimizer": {"batch_size": batch_size}, "seed": config.get("seed")}
    return build_classification(OmegaConf.create(cfg))


def first_view(config: Mapping[str, Any]) -> dict[str, Any]:
    """Size and statistics of the images a network was pretrained on, as far as given there."""
    views = config.get("augmentations") or []
    first = views[0] if isinstance(views, list) and views else {}
    return {k: first[k] for k in ("crop_size", "mean", "std") if first.get(k) is not None}

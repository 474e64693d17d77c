# SPDX-License-Identifier: MIT
"""A complete configuration from a method's name, for those who have no file."""

from typing import Any

from omegaconf import DictConfig, OmegaConf

from mixmask_solo.config.errors import require_known

# of solo-learn's CIFAR recipes, MoCo's as published for CIFAR
_HEADS: dict[str, dict[str, Any]] = {
    "byol": {"proj_hidden_dim": 4096, "proj_output_dim": 256, "pred_hidden_dim": 4096},
    "mocov2": {"projector": "linear", "proj_output_dim": 128, "temperature": 0.1}
    | {"queue_size": 4096, "symmetric": True, "bn_splits": 8},
    "mocov2plus": {"proj_hidden_dim": 2048, "proj_output_dim": 256, "temperature": 0.2}
    | {"queue_size": 32768},
    "simclr": {"proj_hidden_dim": 2048, "proj_output_dim": 256, "temperature": 0.2},
    "simsiam": {"proj_hidden_dim": 2048, "proj_output_dim": 2048, "pred_hidden_dim": 512},
}
_CROPS = {"rrc": {"enabled": True, "crop_min_scale": 0.5, "crop_max_scale": 1.0}}


def minimal(
    method: str, *, backbone: str = "resnet18", size: int = 32, **blocks: Any
) -> DictConfig:
    """What ``pretrain`` and ``resolve`` take, as if composed from a file: 10 epochs on digits.

    Args:
        method: ``byol``, ``mocov2``, ``mocov2plus``, ``simclr`` or ``simsiam``.
        backbone: as ``backbone.name``.
        size: edge of the two crops in pixels.
        blocks: merged over the rest, by the names of the files' blocks and keys, for example
            ``method_kwargs={"mixmask": {"grid_size": 4}}``, ``data={"dataset": "cifar10", ...}``,
            ``max_epochs=100``.

    Raises:
        ConfigError: for another method. What blocks hold is checked where it is resolved.
    """
    require_known("method", method, _HEADS)
    base = {
        "name": method,
        "method": method,
        "backbone": {"name": backbone},
        "method_kwargs": dict(_HEADS[method]),
        "data": {"dataset": "digits", "num_workers": 0},
        "augmentations": [{"crop_size": size, "num_crops": 2, **_CROPS}],
        "optimizer": {"name": "sgd", "batch_size": 64, "lr": 0.1, "classifier_lr": 0.1}
        | {"weight_decay": 1e-4, "kwargs": {"momentum": 0.9}},
        "scheduler": {"name": "warmup_cosine", "warmup_epochs": 1},
        "knn_eval": {"enabled": True, "distance_func": "cosine"},
        "checkpoint": {"enabled": True},
        "max_epochs": 10,
        "seed": 5,
    }
    merged = OmegaConf.merge(base, OmegaConf.create(blocks))
    assert isinstance(merged, DictConfig)
    return merged

# SPDX-License-Identifier: MIT
"""Official MoCo's keys: defaults, and every combination that cannot be."""

from __future__ import annotations

from typing import Any

import pytest
from omegaconf import DictConfig, OmegaConf

from mixmask_solo.config import ConfigError, resolve_pretrain

CIFAR = {
    "projector": "linear",
    "temperature": 0.1,
    "queue_size": 4096,
    "symmetric": True,
    "bn_splits": 8,
}


def config(kwargs: dict[str, Any], **changes: Any) -> DictConfig:
    base: dict[str, Any] = {
        "method": "mocov2",
        "backbone": {"name": "resnet18"},
        "method_kwargs": kwargs,
        "data": {"dataset": "cifar100", "train_path": "x", "val_path": "x"},
        "augmentations": [{"crop_size": 32, "num_crops": 2}],
        "optimizer": {"name": "sgd", "batch_size": 512, "lr": 0.06, "classifier_lr": 0.1},
        "scheduler": {"name": "none"},
        "accelerator": "cpu",
        "max_epochs": 10,
    }
    return OmegaConf.create({**base, **changes})


def resolve(kwargs: dict[str, Any], **changes: Any) -> DictConfig:
    return resolve_pretrain(config(kwargs, **changes), blocks=("mixmask", "unmix"))


def test_defaults_are_moco_v2_on_imagenet() -> None:
    cfg = resolve({"proj_hidden_dim": 2048})
    assert cfg.method_kwargs == {
        "projector": "mlp",
        "proj_hidden_dim": 2048,
        "proj_output_dim": 128,
        "temperature": 0.2,
        "queue_size": 65536,
        "symmetric": False,
        "shuffle": True,
        "bn_splits": 1,
    }
    assert cfg.momentum == {"base_tau": 0.999, "final_tau": 0.999, "classifier": False}


@pytest.mark.parametrize(
    ("given", "expected"),
    [
        ({"base_tau": 0.99}, (0.99, 0.99)),
        ({"base_tau": 0.99, "final_tau": None}, (0.99, 0.99)),
        ({"base_tau": 0.99, "final_tau": 1.0}, (0.99, 1.0)),
    ],
)
def test_one_tau_is_a_constant(given: dict[str, Any], expected: tuple[float, float]) -> None:
    momentum = resolve(CIFAR, momentum=given).momentum
    assert (momentum.base_tau, momentum.final_tau) == expected


def test_the_small_image_setting_has_no_hidden_layer() -> None:
    assert "proj_hidden_dim" not in resolve(CIFAR).method_kwargs
    assert resolve({**CIFAR, "mixmask": {"targets": "both", "pairing": "pair"}})


WRONG: list[tuple[dict[str, Any], dict[str, Any], str]] = [
    ({"projector": "mlp"}, {}, r"proj_hidden_dim is missing: .*2048"),
    ({"proj_hidden_dim": 64}, {}, r"proj_hidden_dim is 64: a linear projector"),
    ({"projector": "conv"}, {}, r"projector is 'conv': choose linear or mlp"),
    ({"queue_size": 1536}, {}, r"queue_size is 1536: .* twice the global batch 512 .* e\.g\. 2048"),
    ({"queue_size": 1000, "symmetric": False}, {}, r"multiple of the global batch 512.*1024"),
    ({"bn_splits": 7}, {}, r"bn_splits is 7: it must divide optimizer\.batch_size \(512\)"),
    ({}, {"sync_batchnorm": True}, r"bn_splits is 8 and sync_batchnorm is true"),
    ({"bn_splits": 0}, {}, r"bn_splits is 0"),
    (
        {"symmetric": False, "unmix": {"targets": "both"}},
        {},
        r"unmix\.targets is both: .* set symmetric to true",
    ),
    ({"symmetric": False, "mixmask": {"pairing": "pair"}}, {}, r"mixmask\.pairing is pair"),
    ({"teperature": 1}, {}, r"method_kwargs\.teperature .*did you mean temperature"),
    ({}, {"momentum": {"classifier": True}}, r"momentum\.classifier is true: mocov2 has no"),
    ({}, {"momentum": {"final_tau": 0.9}}, r"base_tau is 0\.999: .* set both alike"),
    ({}, {"augmentations": [{"crop_size": 32, "num_crops": 3}]}, r"3 large .* exactly 2"),
    ({}, {"knn_eval": {"features": "head"}}, r"knn_eval\.features is 'head'"),
]


@pytest.mark.parametrize(("kwargs", "changes", "line"), WRONG, ids=[w[2][:30] for w in WRONG])
def test_wrong(kwargs: dict[str, Any], changes: dict[str, Any], line: str) -> None:
    with pytest.raises(ConfigError, match=line):
        resolve({**CIFAR, **kwargs}, **changes)

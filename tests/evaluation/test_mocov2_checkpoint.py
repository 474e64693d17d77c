# SPDX-License-Identifier: MIT
"""Official MoCo's projector comes back from a checkpoint, for k-NN on its output."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
import torch
from omegaconf import OmegaConf

from mixmask_solo.evaluation.network import has_projector, load_network
from mixmask_solo.evaluation.pretrained import Pretrained
from mixmask_solo.methods import get_methods

CONFIG: dict[str, Any] = {
    "method": "mocov2",
    "backbone": {"name": "resnet18", "kwargs": {}, "stem": "cifar", "stem_padding": 1},
    "data": {"dataset": "cifar10", "num_classes": 10, "num_large_crops": 2, "num_small_crops": 0},
    "optimizer": {
        "name": "sgd",
        "batch_size": 8,
        "lr": 0.1,
        "classifier_lr": 0.1,
        "weight_decay": 0.0,
    },
    "scheduler": {"name": "none"},
    "max_epochs": 1,
}
HEADS = {
    "linear": {"projector": "linear", "bn_splits": 4},
    "mlp": {"projector": "mlp", "proj_hidden_dim": 16},
}


@pytest.mark.parametrize("head", list(HEADS))
def test_projections_are_those_of_the_run(head: str) -> None:
    kwargs = {**HEADS[head], "queue_size": 32, "mixmask": {"grid_size": 2}}
    config = {**CONFIG, "method_kwargs": kwargs}
    trained = get_methods("builtin")["mocov2"](OmegaConf.create(config)).eval()
    pretrained = Pretrained(Path("last.ckpt"), config, trained.state_dict())
    assert has_projector(pretrained)
    network = load_network(pretrained, projector=True).eval()
    x = torch.randn(2, 3, 32, 32)
    with torch.inference_mode():
        torch.testing.assert_close(network(x)["z"], trained(x)["z"])
        assert network(x)["z"].shape == (2, 128)

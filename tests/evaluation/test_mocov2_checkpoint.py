# SPDX-License-Identifier: MIT
"""Official MoCo's projector comes back from a checkpoint, for k-NN on its output."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
import torch
from omegaconf import OmegaConf

from mixmask_solo.evaluation.network import load_network, why_no_projector
from mixmask_solo.methods import get_methods
from mixmask_solo.records.pretrained import Pretrained
from support.methods import method_config

HEADS = {
    "linear": {"projector": "linear", "bn_splits": 4},
    "mlp": {"projector": "mlp", "proj_hidden_dim": 16},
}


@pytest.mark.parametrize("head", list(HEADS))
def test_projections_are_those_of_the_run(head: str) -> None:
    kwargs = {**HEADS[head], "mixmask": {"grid_size": 2}}
    stem = {"stem": "cifar", "stem_padding": 1}
    cfg = method_config("mocov2", kwargs, backbone=stem, data={"dataset": "cifar10"})
    trained = get_methods("builtin")["mocov2"](cfg).eval()
    config: Any = OmegaConf.to_container(cfg)
    pretrained = Pretrained(Path("last.ckpt"), config, trained.state_dict())
    assert not why_no_projector(pretrained)
    network = load_network(pretrained, projector=True).eval()
    x = torch.randn(2, 3, 32, 32)
    with torch.inference_mode():
        torch.testing.assert_close(network(x)["z"], trained(x)["z"])
        assert network(x)["z"].shape == (2, 16)

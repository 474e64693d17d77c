# SPDX-License-Identifier: MIT
"""Projector features of a checkpoint whose head is not solo-learn's."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
import torch
from omegaconf import DictConfig

from mixmask_solo.config import ConfigError
from mixmask_solo.evaluation.network import load_network, why_no_projector
from mixmask_solo.methods import get_methods
from mixmask_solo.records.pretrained import Pretrained
from mixmask_solo.runs.pretrain import resolve
from support.methods import run_config


def run(tmp_path: Path, method: str, head: str, **blocks: Any) -> tuple[DictConfig, Any]:
    """A method after two steps, so that its running statistics have moved."""
    cfg = resolve(run_config(method, {"head": head, **blocks}))
    cfg.data.num_classes = 10
    model = get_methods("builtin")[method](cfg)
    x = torch.rand(2, 8, 3, 24, 24, generator=torch.Generator().manual_seed(0))
    for i in range(2):
        model.training_step([torch.arange(8), list(x), torch.arange(8) % 10], i)
    return cfg, model.eval()


@pytest.mark.parametrize(("method", "head"), [("simclr", "htdt"), ("simsiam", "patrickhua")])
def test_the_head_comes_back_as_it_was(tmp_path: Path, method: str, head: str) -> None:
    both = {"mixmask": {"grid_size": 4}, "unmix": {}, "permutations": "different"}
    cfg, model = run(tmp_path, method, head, **both)
    assert cfg.method_kwargs.head == head
    assert cfg.method_kwargs.permutations == "different"
    config: Any = dict(cfg)
    pretrained = Pretrained(tmp_path / "last.ckpt", config, model.state_dict())
    assert not why_no_projector(pretrained)
    network = load_network(pretrained, projector=True).eval()
    x = torch.rand(4, 3, 24, 24, generator=torch.Generator().manual_seed(1))
    torch.testing.assert_close(network(x)["z"], model(x)["z"], rtol=0, atol=0)


def test_a_checkpoint_without_the_norm_is_refused(tmp_path: Path) -> None:
    cfg, model = run(tmp_path, "simclr", "htdt")
    state = {k: v for k, v in model.state_dict().items() if not k.startswith("projector.4")}
    config: Any = dict(cfg)
    with pytest.raises(ConfigError, match=r"method's projector: 4\.weight is not in the file"):
        load_network(Pretrained(tmp_path / "last.ckpt", config, state), projector=True)


@pytest.mark.parametrize(
    ("method", "head", "message"),
    [
        ("simclr", "htd", r"method_kwargs\.head is 'htd': choose solo, htdt or google"),
        ("mocov2plus", "htdt", r"unknown key method_kwargs\.head"),
    ],
)
def test_the_schema_knows_the_heads(method: str, head: str, message: str) -> None:
    with pytest.raises(ConfigError, match=message):
        resolve(run_config(method, {"head": head}))

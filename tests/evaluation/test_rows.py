# SPDX-License-Identifier: MIT
"""ResNets whose children stand in a row: stems that only the layout tells."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import pytest
import torch
import torchvision
from torch import Tensor, nn

from mixmask_solo.host.builtin.backbones import actual_stem
from support.checkpoint import load_pretrained

State = dict[str, Tensor]


def in_a_row(children: Sequence[nn.Module]) -> State:
    return {f"backbone.{k}": v for k, v in nn.Sequential(*children).state_dict().items()}


def small(pooled: bool) -> nn.Module:
    torch.manual_seed(3)
    network = torchvision.models.resnet18()
    network.fc = nn.Identity()
    network.conv1 = nn.Conv2d(3, 64, 3, padding=1, bias=False)
    if not pooled:
        network.maxpool = nn.Identity()
    return network.eval()


def generator_names(network: nn.Module) -> State:
    """As lightly's CIFAR network has them in a row: without ReLU and pooling, with shortcuts."""
    named = {"conv1": "0", "bn1": "1", **{f"layer{i}": str(i + 1) for i in range(1, 5)}}
    return {
        f"backbone.{named[k.split('.')[0]]}.{k.partition('.')[2]}".replace(
            "downsample", "shortcut"
        ): t
        for k, t in network.state_dict().items()
    }


@pytest.mark.parametrize("kind", ["without pooling", "lightly's generator"])
def test_a_row_without_pooling_has_the_small_stem(kind: str, tmp_path: Path) -> None:
    network = small(pooled=False)
    rows = [child for name, child in network.named_children() if name not in ("maxpool", "fc")]
    state = in_a_row(rows)
    if kind == "lightly's generator":
        state = generator_names(network)
    torch.save({"state_dict": state}, tmp_path / "x.pth")
    loaded = load_pretrained(tmp_path / "x.pth", {"name": "resnet18"}, "imagenet").eval()
    assert actual_stem(loaded) == "cifar"
    x = torch.randn(2, 3, 32, 32)
    with torch.no_grad():
        assert torch.equal(loaded(x), network(x))


@pytest.mark.parametrize("pooled", [True, False])
def test_a_small_stem_that_is_not_solo_learns_pads_by_one(pooled: bool, tmp_path: Path) -> None:
    network = small(pooled)
    torch.save({"state_dict": in_a_row([*network.children()][:-1])}, tmp_path / "x.pth")
    block = {"name": "resnet18", "stem": "cifar_pool" if pooled else "cifar"}
    x = torch.randn(2, 3, 32, 32)
    loaded = load_pretrained(tmp_path / "x.pth", block, "cifar10").eval()
    other = load_pretrained(tmp_path / "x.pth", {**block, "stem_padding": 2}, "cifar10").eval()
    with torch.no_grad():
        assert torch.equal(loaded(x), network(x))
        assert not torch.equal(other(x), network(x))  # who says so gets it

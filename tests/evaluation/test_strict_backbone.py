# SPDX-License-Identifier: MIT
"""A backbone is the pretrained one, whole, or there is an error line."""

from __future__ import annotations

import logging
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch
import torchvision
from torch import Tensor, nn

from mixmask_solo.config import ConfigError
from mixmask_solo.host.builtin.backbones import actual_stem
from mixmask_solo.records.pretrained import Pretrained
from mixmask_solo.records.weights import backbone_block
from support.checkpoint import load_pretrained

State = dict[str, Tensor]


def cifar_resnet() -> nn.Module:
    """solo-learn's network for 32 pixels."""
    torch.manual_seed(0)
    network = torchvision.models.resnet18()
    network.fc = nn.Identity()
    network.conv1 = nn.Conv2d(3, 64, 3, padding=2, bias=False)
    network.maxpool = nn.Identity()
    return network


def save(tmp_path: Path, state: State, prefix: str = "backbone.", **config: Any) -> Path:
    import json

    torch.save({"state_dict": {prefix + k: v for k, v in state.items()}}, tmp_path / "last.ckpt")
    if config:
        (tmp_path / "args.json").write_text(json.dumps(config))
    return tmp_path / "last.ckpt"


SOLO = {"backbone": {"name": "resnet18", "kwargs": {}}, "data": {"dataset": "cifar10"}}


@pytest.mark.parametrize("prefix", ["backbone.", "encoder."])
def test_solo_learns_checkpoint_gives_the_same_features(prefix: str, tmp_path: Path) -> None:
    network = cifar_resnet().eval()
    path = save(tmp_path, network.state_dict(), prefix, **SOLO)
    loaded = load_pretrained(path).eval()
    x = torch.randn(2, 3, 32, 32)
    with torch.no_grad():
        assert torch.equal(loaded(x), network(x))
    assert actual_stem(loaded) == "cifar"


def test_torchvision_weights_leave_their_head_behind(tmp_path: Path) -> None:
    path = tmp_path / "resnet18.pth"
    network = torchvision.models.resnet18()
    torch.save(network.state_dict(), path)
    loaded = load_pretrained(path, {"name": "resnet18"}, "imagenet")
    assert torch.equal(loaded.layer4[1].conv2.weight, network.layer4[1].conv2.weight)
    assert actual_stem(loaded) == "imagenet"


def drop(state: State) -> State:
    return {k: v for k, v in state.items() if k != "layer3.0.conv1.weight"}


def add(state: State) -> State:
    return {**state, "layer5.0.weight": torch.zeros(1)}


def cut(state: State) -> State:
    return {**state, "layer2.0.conv1.weight": torch.zeros(128, 32, 3, 3)}


def seven(state: State) -> State:
    return {**state, "conv1.weight": torch.zeros(64, 3, 7, 7)}


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (drop, r"layer3\.0\.conv1\.weight is not in the file \(119 of 120 names are\)"),
        (add, r"the file also has backbone\.layer5\.0\.weight, which the network lacks"),
        (cut, r"layer2\.0\.conv1\.weight is 128x32x3x3 in the file, 128x64x3x3 in the network"),
        (seven, r"conv1\.weight is 64x3x7x7 .*; set backbone\.stem=imagenet"),
        (
            lambda s: {f"x.{k}": v for k, v in s.items()},
            r"conv1\.weight is not in the file \(0 of 120 names are\), the file also has "
            r"backbone\.x\.conv1\.weight, which the network lacks; docs/methods\.md",
        ),
        (
            lambda s: drop(add(cut(s))),
            r"128x32x3x3 .*layer3\.0\.conv1.*backbone\.layer5\.0\.weight",
        ),
    ],
)
def test_every_name_is_accounted_for(
    change: Callable[[State], State], message: str, tmp_path: Path
) -> None:
    path = save(tmp_path, change(cifar_resnet().state_dict()), **SOLO)
    with pytest.raises(ConfigError, match=message) as error:
        load_pretrained(path)
    assert "\n" not in str(error.value)
    assert (
        "last.ckpt', read as the names under 'backbone.', does not fit resnet18, the network of "
        "its stored configuration: "
    ) in str(error.value)


def test_a_misfit_says_who_named_the_network(tmp_path: Path) -> None:
    state = drop(cifar_resnet().state_dict())
    path = save(tmp_path, {f"module.{k}": v for k, v in add(state).items()}, "")
    with pytest.raises(ConfigError) as error:
        load_pretrained(path, {"name": "resnet18"}, "cifar10")
    assert str(error.value) == (
        f"checkpoint '{path}', read as names without a prefix, does not fit resnet18, the network "
        "given: layer3.0.conv1.weight is not in the file (119 of 120 names are), the file also has "
        "module.layer5.0.weight, which the network lacks; set backbone.name (and kwargs) to the "
        "network it was trained with"
    )


def test_another_backbone_than_the_stored_one(tmp_path: Path) -> None:
    path = save(tmp_path, cifar_resnet().state_dict(), **SOLO)
    with pytest.raises(ConfigError, match=r"is resnet50, but .* holds a resnet18: set"):
        load_pretrained(path, {"name": "resnet50"})


def test_a_file_that_names_no_network_needs_a_name(tmp_path: Path) -> None:
    path = save(tmp_path, cifar_resnet().state_dict())
    with pytest.raises(ConfigError, match=r"backbone\.name is missing"):
        load_pretrained(path, dataset="cifar10")
    with pytest.raises(ConfigError, match=r"resnt18 cannot be built"):
        load_pretrained(path, {"name": "resnt18"}, "cifar10")


def stored(**backbone: Any) -> Pretrained:
    return Pretrained(Path("x.ckpt"), {"backbone": {"name": "resnet18", **backbone}}, {})


def test_the_pretraining_decides_what_weights_do_not_show(
    caplog: pytest.LogCaptureFixture,
) -> None:
    caplog.set_level(logging.WARNING)
    given = {"name": "resnet18", "stem": "cifar", "stem_padding": 1}
    block = backbone_block(stored(stem="cifar", stem_padding=1), {"name": "resnet18"})
    assert block["stem_padding"] == 1
    assert not caplog.messages
    block = backbone_block(stored(stem="cifar"), given)  # solo-learn's file: padding 2
    assert block["stem_padding"] == 2
    [message] = caplog.messages
    assert "backbone.stem_padding is 1" in message


def test_without_a_stored_configuration_the_user_decides() -> None:
    block = backbone_block(Pretrained(Path("x"), {}, {}), {"name": "resnet18", "stem": "cifar"})
    assert block == {"name": "resnet18", "stem": "cifar", "stem_padding": 2, "kwargs": {}}

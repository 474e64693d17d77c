# SPDX-License-Identifier: MIT
"""Whatever the layout, the tensors that are loaded are those of the network that was saved."""

from __future__ import annotations

import argparse
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
import torchvision
from torch import Tensor, nn

from mixmask_solo.config import ConfigError
from support.checkpoint import load_pretrained

State = dict[str, Tensor]


def resnet(seed: int, **options: Any) -> nn.Module:
    torch.manual_seed(seed)
    network = torchvision.models.resnet18(**options)
    for name, buffer in network.named_buffers():
        if name.endswith("running_mean"):
            buffer.normal_()
    return network


def headless(seed: int) -> nn.Module:
    network = resnet(seed)
    network.fc = nn.Identity()
    return network


ONLINE, MOMENTUM = headless(1), headless(2)


def under(prefix: str, network: nn.Module) -> State:
    return {prefix + k: v for k, v in network.state_dict().items()}


def children(network: nn.Module) -> nn.Sequential:
    """The children in a row without the classifier, as lightly's examples build a backbone."""
    return nn.Sequential(*list(network.children())[:-1])


def with_head(network: nn.Module) -> nn.Module:
    """The same weights with MoCo v3's MLP in the place of the classifier."""
    copy = resnet(0)
    copy.fc = nn.Sequential(nn.Linear(512, 8, bias=False), nn.BatchNorm1d(8))
    copy.load_state_dict(network.state_dict(), strict=False)
    return copy


def head(prefix: str) -> State:
    return {f"{prefix}0.weight": torch.ones(4, 512), f"{prefix}0.bias": torch.ones(4)}


def queue() -> State:
    return {"queue": torch.ones(4, 8), "queue_ptr": torch.zeros(1, dtype=torch.long)}


def lightly_examples() -> State:
    return {
        **under("backbone.", children(ONLINE)),
        **head("projection_head.layers."),
        **under("backbone_momentum.", children(MOMENTUM)),
        **head("projection_head_momentum.layers."),
        "criterion.memory_bank.bank": torch.ones(8, 4),
    }


def lightly_benchmarks(online: str, momentum: str) -> State:
    return {**under(momentum, MOMENTUM), **under(online, ONLINE), **head("projection_head.layers.")}


def mocov3(wrapper: str = "module.") -> State:
    return {
        **under(f"{wrapper}base_encoder.", with_head(ONLINE)),
        **under(f"{wrapper}momentum_encoder.", with_head(MOMENTUM)),
        **head(f"{wrapper}predictor."),
    }


def dino(teacher: str = "module.") -> dict[str, Any]:
    return {
        "student": {**under("module.backbone.", ONLINE), **head("module.head.mlp.")},
        "teacher": {**under(f"{teacher}backbone.", MOMENTUM), **head(f"{teacher}head.mlp.")},
        "epoch": 1,
        "args": argparse.Namespace(arch="resnet18"),
        "dino_loss": {"center": torch.zeros(1, 4)},
    }


def ours(wrapper: str = "") -> State:
    return {
        **under(f"{wrapper}backbone.", ONLINE),
        **head("projector."),
        **under(f"{wrapper}momentum_backbone.", MOMENTUM),
        **head("momentum_projector."),
        **queue(),
    }


def moco() -> State:
    return {
        **under("module.encoder_q.", with_head(ONLINE)),
        **under("module.encoder_k.", with_head(MOMENTUM)),
        **queue(),
    }


BOTH: dict[str, Callable[[], dict[str, Any]]] = {
    "ours": lambda: {"state_dict": ours()},
    "solo-learn of 2021": lambda: {
        "state_dict": {**under("encoder.", ONLINE), **under("momentum_encoder.", MOMENTUM)}
    },
    "MoCo": lambda: {"state_dict": moco(), "arch": "resnet18"},
    "MoCo v3": lambda: {"state_dict": mocov3(), "arch": "resnet18", "optimizer": {}},
    "MoCo v3 without DDP": lambda: {"state_dict": mocov3("")},
    "lightly's examples": lambda: {"state_dict": lightly_examples()},
    "lightly's DINO example": lambda: {
        "state_dict": {
            **under("student_backbone.", children(ONLINE)),
            **under("teacher_backbone.", children(MOMENTUM)),
            **head("student_head.layers."),
        }
    },
    "lightly's DINO benchmark": lambda: {
        "state_dict": lightly_benchmarks("student_backbone.", "backbone.")
    },
    "lightly's first MoCo benchmark": lambda: {
        "state_dict": lightly_benchmarks("query_backbone.", "backbone.")
    },
    "lightly's MoCo benchmark": lambda: {
        "state_dict": lightly_benchmarks("backbone.", "key_backbone.")
    },
    "lightly's BYOL benchmark": lambda: {
        "state_dict": lightly_benchmarks("backbone.", "teacher_backbone.")
    },
    "DINO": dino,
    "DINO, teacher without DDP": lambda: dino(""),
    "bare student and teacher": lambda: {
        "student": ONLINE.state_dict(),
        "teacher": MOMENTUM.state_dict(),
    },
    "compiled": lambda: {"state_dict": ours("_orig_mod.")},
    "compiled inside DDP": lambda: {"state_dict": ours("module._orig_mod.")},
    "DDP inside": lambda: {
        "state_dict": {
            **under("backbone.module.", ONLINE),
            **under("momentum_backbone.module.", MOMENTUM),
        }
    },
    "compiled backbone": lambda: {
        "state_dict": {
            **under("backbone._orig_mod.", ONLINE),
            **under("momentum_backbone._orig_mod.", MOMENTUM),
        }
    },
    "model": lambda: {"model": ours("module."), "epoch": np.int64(3)},
}
ALONE: dict[str, Callable[[], dict[str, Any]]] = {
    "lightly's SimCLR": lambda: {
        "state_dict": {**under("backbone.", children(ONLINE)), **head("projection_head.layers.")}
    },
    "lightly's names of torchvision": lambda: {
        "state_dict": {**under("backbone.", ONLINE), **head("projection_head.layers.")},
        "hyper_parameters": argparse.Namespace(lr=1),
    },
    "torchvision": lambda: dict(with_head(ONLINE).state_dict()),
    "children alone": lambda: dict(children(ONLINE).state_dict()),
    "model of torchvision": lambda: {"model": with_head(ONLINE).state_dict()},
    "model_state_dict": lambda: {"model_state_dict": under("module.", ONLINE), "loss": 0.1},
    "compiled alone": lambda: under("_orig_mod.", ONLINE),
}


def same(path: Path, network: nn.Module, evaluate: str) -> None:
    loaded = load_pretrained(path, {"name": "resnet18"}, "cifar10", evaluate).eval()
    expected, found = network.state_dict(), loaded.state_dict()
    assert expected.keys() == found.keys()
    assert all(torch.equal(found[k], t) for k, t in expected.items())
    x = torch.randn(2, 3, 40, 40)
    with torch.no_grad():
        assert torch.equal(loaded(x), network.eval()(x))


@pytest.mark.parametrize("layout", list(BOTH))
def test_both_networks(layout: str, tmp_path: Path) -> None:
    torch.save(BOTH[layout](), tmp_path / "x.pth")
    same(tmp_path / "x.pth", ONLINE, "online")
    same(tmp_path / "x.pth", MOMENTUM, "momentum")


@pytest.mark.parametrize("zipped", [True, False])
@pytest.mark.parametrize("layout", list(ALONE))
def test_one_network(layout: str, zipped: bool, tmp_path: Path) -> None:
    path = tmp_path / "x.pth"
    torch.save(ALONE[layout](), path, _use_new_zipfile_serialization=zipped)
    same(path, ONLINE, "online")
    with pytest.raises(
        ConfigError, match=r"x\.pth' holds no momentum network.*evaluate=online"
    ) as error:
        load_pretrained(path, {"name": "resnet18"}, evaluate="momentum")
    assert "\n" not in str(error.value)


@pytest.mark.parametrize("key", ["encoder_k.", "teacher.backbone.", "momentum_backbone."])
def test_a_momentum_network_alone_is_not_taken_for_the_online_one(key: str, tmp_path: Path) -> None:
    torch.save({"state_dict": under(key, MOMENTUM)}, tmp_path / "x.pth")
    with pytest.raises(ConfigError, match=r"holds a momentum network only.*evaluate=momentum"):
        load_pretrained(tmp_path / "x.pth", {"name": "resnet18"})
    same(tmp_path / "x.pth", MOMENTUM, "momentum")


def test_a_network_that_has_such_parts_itself(tmp_path: Path) -> None:
    """timm's iformer calls some of its own parts ``module``."""
    import timm

    if "iformer_t" not in timm.list_models():
        pytest.skip("this timm has no iformer")
    network = timm.create_model("iformer_t", num_classes=0)
    torch.save(under("module.", network), tmp_path / "x.pth")
    loaded = load_pretrained(tmp_path / "x.pth", {"name": "iformer_t"}, "imagenet")
    expected, found = network.state_dict(), loaded.state_dict()
    assert any(".module." in name for name in expected)
    assert all(torch.equal(found[k], t) for k, t in expected.items())

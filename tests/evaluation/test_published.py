# SPDX-License-Identifier: MIT
"""Checkpoints laid out as the published MoCo, Un-Mix and MixMask code saves them."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
import torch
import torchvision
from omegaconf import OmegaConf
from torch import Tensor, nn

from mixmask_solo.config import ConfigError
from mixmask_solo.evaluation.run_knn import evaluate_knn
from mixmask_solo.host.builtin.backbones import actual_stem
from mixmask_solo.runs.linear import linear
from support.checkpoint import load_pretrained

State = dict[str, Tensor]


def official(head: str = "mlp") -> nn.Module:
    """MoCo's encoder on ImageNet: a torchvision ResNet whose ``fc`` is the head."""
    torch.manual_seed(0)
    network = torchvision.models.resnet18(num_classes=16)
    if head == "mlp":
        network.fc = nn.Sequential(nn.Linear(512, 512), nn.ReLU(), network.fc)
    return network


class Demo(nn.Module):
    """The CIFAR demos' encoder: the children in a ``Sequential``, a small stem, no max pooling."""

    def __init__(self) -> None:
        super().__init__()
        network = official("linear")
        network.conv1 = nn.Conv2d(3, 64, 3, padding=1, bias=False)
        children = {k: v for k, v in network.named_children() if k != "maxpool"}
        head = children.pop("fc")
        self.net = nn.Sequential(*children.values(), nn.Flatten(1), head)


def state(network: nn.Module, wrapper: str = "module.") -> State:
    """Query and key encoder, queue and pointer."""
    own = network.state_dict()
    other = {k: torch.zeros_like(v) for k, v in own.items()}
    named = {
        **{f"encoder_q.{k}": v for k, v in own.items()},
        **{f"encoder_k.{k}": v for k, v in other.items()},
        "queue": torch.zeros(16, 8),
        "queue_ptr": torch.zeros(1, dtype=torch.long),
    }
    return {wrapper + k: v for k, v in named.items()}


def save(folder: Path, state: State, **more: Any) -> Path:
    network = nn.Linear(2, 2)
    optimizer = torch.optim.SGD(network.parameters(), 0.03, momentum=0.9)
    network(torch.ones(1, 2)).sum().backward()
    optimizer.step()
    path = folder / "checkpoint_0199.pth.tar"
    content = {"epoch": 200, "state_dict": state, "optimizer": optimizer.state_dict(), **more}
    torch.save(content, path)
    return path


@pytest.mark.parametrize("head", ["mlp", "linear"])
@pytest.mark.parametrize("wrapper", ["module.", ""])
def test_the_query_encoder_without_its_head(wrapper: str, head: str, tmp_path: Path) -> None:
    network = official(head)
    path = save(tmp_path, state(network, wrapper), arch="resnet18")
    loaded = load_pretrained(path, dataset="cifar10").eval()  # the file knows its stem better
    assert actual_stem(loaded) == "imagenet"
    network.fc = nn.Identity()
    x = torch.randn(2, 3, 64, 64)
    with torch.no_grad():
        assert torch.equal(loaded(x), network.eval()(x))


@pytest.mark.parametrize("wrapper", ["module.", ""])
def test_the_demos_sequential(wrapper: str, tmp_path: Path) -> None:
    network = Demo()
    path = save(tmp_path, state(network, wrapper))
    with pytest.raises(ConfigError, match=r"backbone\.name is missing"):
        load_pretrained(path)
    loaded = load_pretrained(path, {"name": "resnet18"}, "imagenet").eval()
    assert actual_stem(loaded) == "cifar"
    x = torch.randn(2, 3, 32, 32)
    with torch.no_grad():  # equal only with the demo's padding of 1
        torch.testing.assert_close(loaded(x), network.eval().net[:-1](x))


def test_another_padding_than_the_demos_is_overruled_aloud(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    path = save(tmp_path, state(Demo()))
    loaded = load_pretrained(path, {"name": "resnet18", "stem": "imagenet"})
    assert actual_stem(loaded) == "cifar"
    [message] = caplog.messages
    assert "backbone.stem is imagenet, but" in message


def drop(s: State) -> State:
    return {
        k: v for k, v in s.items() if ".layer2.0.conv1." not in k and ".net.4.0.conv1." not in k
    }


def add(s: State) -> State:
    return {**s, "module.encoder_q.layer5.weight": torch.zeros(1)}


def add_numbered(s: State) -> State:
    return {**s, "module.encoder_q.net.8.weight": torch.zeros(1)}


def only_keys(s: State) -> State:
    return {k: v for k, v in s.items() if "encoder_q" not in k}


@pytest.mark.parametrize(
    ("network", "change", "message"),
    [
        (official, drop, r"layer2\.0\.conv1\.weight is not in the file \(119 of 120 names are\)"),
        (Demo, drop, r"layer2\.0\.conv1\.weight is not in the file \(119 of 120 names are\)"),
        (official, add, r"the file also has module\.encoder_q\.layer5\.weight"),
        (Demo, add_numbered, r"the file also has module\.encoder_q\.net\.8\.weight"),
        (official, only_keys, r"holds a momentum network only: set evaluate=momentum"),
    ],
)
def test_every_name_is_accounted_for(
    network: Any, change: Any, message: str, tmp_path: Path
) -> None:
    path = save(tmp_path, change(state(network())), arch="resnet18")
    with pytest.raises(ConfigError, match=message) as error:
        load_pretrained(path)
    assert "\n" not in str(error.value)


def test_another_architecture(tmp_path: Path) -> None:
    named = save(tmp_path, state(official()), arch="resnet18")
    with pytest.raises(ConfigError, match=r"is resnet50, but .* holds a resnet18: set backbone\.n"):
        load_pretrained(named, {"name": "resnet50"})
    lying = save(tmp_path, state(official()), arch="resnet50")
    with pytest.raises(
        ConfigError,
        match=r"does not fit resnet50, the network its 'arch' names: .*another file",
    ):
        load_pretrained(lying)
    unknown = save(tmp_path, state(official()), arch="resnet18w9")
    with pytest.raises(ConfigError, match=r"backbone resnet18w9 cannot be built"):
        load_pretrained(unknown)


DATA = {"dataset": "digits", "num_workers": 0, "augmentations": {"crop_size": 32}}


@pytest.mark.parametrize("finetune", [False, True])
@pytest.mark.parametrize("layout", ["official", "demo"])
def test_probing_and_fine_tuning(layout: str, finetune: bool, tmp_path: Path) -> None:
    network = official() if layout == "official" else Demo()
    told = {"arch": "resnet18"} if layout == "official" else {}
    cfg = {
        "name": "probe",
        "pretrained_feature_extractor": str(save(tmp_path, state(network), **told)),
        "backbone": {"name": "resnet18"} if layout == "demo" else None,
        "finetune": finetune,
        "data": DATA,
        "optimizer": {"name": "sgd", "batch_size": 8, "lr": 0.1},
        "scheduler": {"name": "none"},
        "checkpoint": {"enabled": True, "dir": str(tmp_path / "runs")},
        "max_epochs": 1,
        "accelerator": "cpu",
        "limit_train_batches": 1,
        "limit_val_batches": 1,
    }
    result = linear(OmegaConf.create({k: v for k, v in cfg.items() if v is not None}))
    assert result["status"] == "completed"
    saved = torch.load(Path(result["directory"]) / "last.ckpt", weights_only=True)["state_dict"]
    first = saved["backbone.conv1.weight"]
    given = network.conv1.weight if layout == "official" else network.net[0].weight
    assert torch.equal(first, given) != finetune


def test_nearest_neighbours(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    path = save(tmp_path, state(Demo()))
    result = evaluate_knn(
        path,
        data={"dataset": "digits", "num_workers": 0, "augmentations": {"crop_size": 8}},
        backbone={"name": "resnet18"},
    )
    [row] = result["rows"]  # no projector to be rebuilt, hence solo-learn's protocol alone
    assert row["features"] == "backbone"
    assert row["acc1"] > 50

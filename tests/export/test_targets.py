# SPDX-License-Identifier: MIT
"""Exports loaded the way their users load them, by code that is not the command's own."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest
import timm
import torch
import torchvision
from safetensors import safe_open
from torch import Tensor, nn

from mixmask_solo.config import ConfigError
from mixmask_solo.evaluation.network import load_network
from mixmask_solo.export.source import read_source
from mixmask_solo.export.write import Exported, export
from mixmask_solo.fills import high_pass
from mixmask_solo.records.pretrained import read_pretrained
from support.checkpoint import load_pretrained
from support.exported import run_file

IMAGES = torch.randn(3, 3, 32, 32, generator=torch.Generator().manual_seed(7))
RESNET10T = {"name": "resnet10t"}
FILTER = {"name": "high_pass", "sigma": 2.0, "kernel": 5}


@pytest.fixture(scope="module")
def cifar(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """BYOL with torchvision's resnet18 on digits, which have the 3x3 stem."""
    return run_file(tmp_path_factory.mktemp("cifar"), "byol", backbone={"name": "resnet18"})


@pytest.fixture(scope="module")
def filtered(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """SimCLR with timm's resnet10t behind MSCN's filter."""
    mscn = {"sigma": 2.0, "kernel": 5, "patch_size": 6}
    return run_file(
        tmp_path_factory.mktemp("filtered"), "simclr", {"mscn": mscn}, backbone=RESNET10T
    )


@torch.no_grad()
def close(model: nn.Module, done: Exported, images: Tensor = IMAGES) -> None:
    found, wanted = model.eval()(images), done.source.backbone(images)
    assert wanted.abs().max() > 0.1
    torch.testing.assert_close(found, wanted, rtol=0, atol=1e-5 * float(wanted.abs().max()))


def small_resnet18() -> Any:
    """What docs/transfer.md says about a CIFAR stem."""
    model = torchvision.models.resnet18()
    model.conv1 = nn.Conv2d(3, 64, 3, padding=2, bias=False)
    model.maxpool = nn.Identity()
    model.fc = nn.Identity()
    return model


def test_torchvision_takes_a_cifar_stem_by_the_lines_told(cifar: Path, tmp_path: Path) -> None:
    done = export(cifar, "torchvision", out=tmp_path / "r18.pth")
    assert done.difference <= 1e-5
    assert [path.name for path in done.files] == ["r18.pth", "r18.pth.json"]
    model = small_resnet18()
    model.load_state_dict(torch.load(tmp_path / "r18.pth", weights_only=True))
    close(model, done)
    assert "model.maxpool = torch.nn.Identity()" in done.lines
    facts = json.loads((tmp_path / "r18.pth.json").read_text())
    assert facts["backbone"] == {
        **{"name": "resnet18", "kwargs": {}, "stem": "cifar", "stem_padding": 2}
    }
    assert (facts["method"], facts["run"], facts["which"]) == ("byol", "0123456789ab", "online")
    assert (facts["mean"], facts["crop_size"]) == ([0.3052] * 3, 24)
    assert (facts["features"], facts["input_filter"]) == (512, [])


def test_timm_takes_torchvisions_weights(cifar: Path, tmp_path: Path) -> None:
    done = export(cifar, "timm", "momentum", out=tmp_path / "r18.pth")
    assert done.difference <= 1e-5
    model = timm.create_model("resnet18", num_classes=0)
    model.conv1, model.maxpool = nn.Conv2d(3, 64, 3, padding=2, bias=False), nn.Identity()
    timm.models.load_checkpoint(model, str(tmp_path / "r18.pth"))
    close(model, done)
    momentum = load_pretrained(cifar, evaluate="momentum").state_dict()
    online = load_pretrained(cifar).state_dict()
    assert torch.equal(model.state_dict()["conv1.weight"], momentum["conv1.weight"])
    assert not torch.equal(online["conv1.weight"], momentum["conv1.weight"])
    facts = torch.load(tmp_path / "r18.pth", weights_only=True)["mixmask"]
    assert facts == json.loads(json.dumps(done.source.facts))
    assert facts["which"] == "momentum"


def test_timms_own_network_goes_back_to_timm(filtered: Path) -> None:
    done = export(filtered.parent, "timm")
    assert done.files == [filtered.with_name("last.timm.pth")]
    model = timm.create_model("resnet10t", num_classes=0)
    timm.models.load_checkpoint(model, str(done.files[0]))
    close(model, done)
    assert done.source.facts["input_filter"] == [FILTER]


def test_the_filter_is_not_in_the_weights_but_told(filtered: Path, tmp_path: Path) -> None:
    done = export(filtered, "safetensors", "head", out=tmp_path / "a.safetensors")
    with safe_open(tmp_path / "a.safetensors", "pt") as file:
        facts = json.loads(file.metadata()["mixmask"])
        names = set(file.keys())
        first = file.get_tensor("projector.0.weight")
    assert facts["input_filter"] == [FILTER]
    source = done.source
    assert source.projector is not None
    assert names == set(source.with_head)
    assert torch.equal(first, source.projector.state_dict()["0.weight"])
    whole: Any = load_network(read_pretrained(filtered), projector=True).eval()
    with torch.no_grad():
        seen = source.outputs(high_pass(IMAGES, sigma=2.0, kernel=5))
        wanted = whole(IMAGES)
    torch.testing.assert_close(seen["z"], wanted["z"], rtol=1e-5, atol=1e-5)
    torch.testing.assert_close(seen["feats"], wanted["feats"], rtol=1e-5, atol=1e-5)
    assert not torch.allclose(source.outputs(IMAGES)["z"], wanted["z"], rtol=1e-2)


@pytest.mark.parametrize(
    ("to", "which", "name"),
    [
        ("timm", "online", "out.pth"),
        ("torchvision", "online", "out.pth"),
        ("safetensors", "online", "out.safetensors"),
        ("safetensors", "head", "out.safetensors"),
        ("solo", "online", "out.pth"),
        ("monodepth2", "online", "encoder.pth"),
    ],
)
def test_what_is_told_of_weights_is_read_back(
    to: str, which: str, name: str, tmp_path: Path
) -> None:
    """Or a network that saw filtered images would be measured on others, without a word."""
    mscn = {"sigma": 2.0, "kernel": 5, "patch_size": 6}
    (tmp_path / "run").mkdir()
    network = {"name": "resnet18", "stem": "imagenet"}
    run = run_file(tmp_path / "run", "simclr", {"mscn": mscn}, backbone=network)
    first = export(run, to, which, out=tmp_path / name)
    other = {"backbone": {"name": "resnet50"}, "method": "byol", "method_kwargs": {}}
    (tmp_path / "args.json").write_text(json.dumps(other))  # of a run that it may lie beside
    again = export(tmp_path / name, "timm", out=tmp_path / "again.pth")
    for key in sorted(first.source.facts.keys() - {"checkpoint", "crc32", "which", "package"}):
        assert again.source.facts[key] == first.source.facts[key], key
    assert again.source.facts["input_filter"] == [FILTER]
    assert again.source.facts["mean"] == [0.3052] * 3


def test_a_damaged_safetensors_file_is_one_line(tmp_path: Path) -> None:
    (tmp_path / "a.safetensors").write_bytes(b"damaged")
    with pytest.raises(ConfigError, match=r"a.safetensors' cannot be read \(SafetensorError\)"):
        read_pretrained(tmp_path / "a.safetensors")


@pytest.mark.parametrize("to", ["timm", "solo", "torchvision"])
def test_whose_network_it_is_stays_told(to: str, tmp_path: Path) -> None:
    run = run_file(tmp_path, "byol", backbone={"name": "resnet18"})
    first = tmp_path / "first.pth"
    export(run, to, "momentum", out=first)
    again = export(first, "safetensors", out=tmp_path / "again.safetensors").source
    assert again.facts["which"] == "momentum"
    assert again.facts["method"] == "byol"
    assert read_pretrained(tmp_path / "again.safetensors").whose == "momentum"
    assert read_pretrained(run).whose == "online"


def test_facts_beside_a_file_are_of_that_file(tmp_path: Path) -> None:
    """Without them a network that saw filtered images would be measured on others."""
    run = run_file(tmp_path, "simclr", backbone={"name": "resnet18"})
    file, beside = tmp_path / "out.pth", tmp_path / "out.pth.json"
    export(run, "torchvision", out=file)
    whole, weights = beside.read_text(), file.read_bytes()
    beside.write_text(whole[:300])
    with pytest.raises(ConfigError, match=r"'.*out.pth.json', which tells of .* cannot be read"):
        read_pretrained(file)
    beside.write_text(json.dumps({**json.loads(whole), "filter_blocks": None}))
    with pytest.raises(ConfigError, match=r"out.pth.json', .* has damaged facts"):
        read_pretrained(file)
    beside.write_text(whole)
    torch.save({"conv1.weight": torch.ones(1)}, file)
    with pytest.raises(ConfigError, match=r"out.pth.json', .* is of another file"):
        read_pretrained(file)
    file.write_bytes(weights)
    assert read_pretrained(file).exported
    beside.write_text('{"a": 1}')  # somebody else's
    assert not read_pretrained(file).exported


@pytest.mark.parametrize("which", ["online", "momentum", "head"])
def test_a_solo_checkpoint_is_read_as_the_run_is(which: str, cifar: Path, tmp_path: Path) -> None:
    out = tmp_path / "out.ckpt"
    export(cifar, "solo", which, out=out)
    state = torch.load(out, weights_only=True)["state_dict"]
    # main_linear.py: names with `backbone` lose that word, all others go
    there = {k.replace("backbone.", "") for k in state if "backbone" in k}
    assert there == small_resnet18().state_dict().keys()
    evaluate = "momentum" if which == "momentum" else "online"
    before, after = load_pretrained(cifar, evaluate=evaluate), load_pretrained(out)
    for name, tensor in before.state_dict().items():
        assert torch.equal(after.state_dict()[name], tensor), name
    if which == "head":
        again: Any = load_network(read_pretrained(out), projector=True)
        assert torch.equal(again.projector[0].weight, state["projector.0.weight"])


def test_a_solo_checkpoint_keeps_its_filter(filtered: Path, tmp_path: Path) -> None:
    done = export(filtered, "solo", out=tmp_path / "out.pth")
    network = load_pretrained(tmp_path / "out.pth").eval()
    with torch.no_grad():
        wanted = done.source.backbone(high_pass(IMAGES, sigma=2.0, kernel=5))
        torch.testing.assert_close(network(IMAGES), wanted)


def test_a_file_of_mere_weights_is_named_by_the_user(tmp_path: Path) -> None:
    model = small_resnet18()
    model.conv1 = nn.Conv2d(3, 64, 3, padding=1, bias=False)
    torch.save(model.state_dict(), tmp_path / "mere.pth")
    told = {"name": "resnet18", "stem": "cifar", "stem_padding": 1}
    done = export(tmp_path / "mere.pth", "solo", out=tmp_path / "a.pth", backbone=told)
    close(model, done)
    assert done.source.facts["mean"] is None
    again = read_source(tmp_path / "a.pth")
    assert again.block == {"kwargs": {}, **told}
    close(again.backbone, done)

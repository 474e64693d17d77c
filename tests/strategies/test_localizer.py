# SPDX-License-Identifier: MIT
"""The frozen localiser: which weights, of which images, never changed; and what is refused."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
import timm
import torch
import torchvision
from omegaconf import OmegaConf

from mixmask_solo.config import ConfigError
from mixmask_solo.config.datasets import IMAGENET_MEAN, IMAGENET_STD
from mixmask_solo.strategies import build_strategies, fill_blocks
from mixmask_solo.strategies.localizer import Localizer
from support.saliency import block, localizer_file


def config(saliency: Any, **more: Any) -> Any:
    base = {
        "method": "mocov2",
        "method_kwargs": {"saliency": saliency},
        "data": {"dataset": "imagenet"},
        "augmentations": [{"crop_size": 32}],
    }
    return OmegaConf.create({**base, **more})


def localizer(saliency: Any, **more: Any) -> Localizer:
    [strategy] = build_strategies(config(saliency, **more))
    made: Localizer = strategy.localizer
    return made


@pytest.mark.parametrize("stage", [1, 2, 4])
def test_a_map_is_the_sum_over_the_channels_of_a_stage(weights: Path, stage: int) -> None:
    network = timm.create_model("resnet10t", num_classes=0).eval()
    network.load_state_dict(torch.load(weights, weights_only=True))
    x = torch.randn(2, 3, 64, 64, requires_grad=True)
    with torch.no_grad():
        found = network.act1(network.bn1(network.conv1(x)))
        found = network.maxpool(found)
        for i in range(1, stage + 1):
            found = getattr(network, f"layer{i}")(found)
    made = localizer(block(weights, stage), augmentations=[{"crop_size": 64}])
    maps = made(x)
    assert not maps.requires_grad
    torch.testing.assert_close(maps.float(), found.double().sum(1).float())


def test_torchvisions_weights_where_they_are_at_hand_and_no_download(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("TORCH_HOME", str(tmp_path))
    monkeypatch.setattr(torch.hub, "load_state_dict_from_url", lambda *_, **__: pytest.fail("net"))
    saliency = {"localizer": {"backbone": {"name": "resnet18"}, "stage": 3}}
    with pytest.raises(ConfigError) as error:
        localizer(saliency)
    told = "localizer: torchvision's weights of resnet18 are not at hand, and nothing is downloaded"
    assert f"method_kwargs.saliency.{told}" in str(error.value)
    assert 'torchvision.models.resnet18(weights="DEFAULT")' in str(error.value)
    network = torchvision.models.resnet18()
    name = torchvision.models.ResNet18_Weights.DEFAULT.url.rpartition("/")[2]
    file = tmp_path / "hub" / "checkpoints" / name
    file.parent.mkdir(parents=True)
    torch.save(network.state_dict(), file)
    made = localizer(saliency)
    own = network.state_dict()
    assert all(torch.equal(t, own[k]) for k, t in made.network.state_dict().items())
    assert made.scale is None


def test_the_stored_block_says_which_weights_they_are(weights: Path, tmp_path: Path) -> None:
    filled = fill_blocks(config(block(weights)))["saliency"]
    stored = filled["localizer"]
    assert stored["backbone"] == {
        "name": "resnet10t",
        "kwargs": {},
        "stem": "imagenet",
        "stem_padding": 2,
    }
    assert (stored["mean"], stored["std"]) == (list(IMAGENET_MEAN), list(IMAGENET_STD))
    assert fill_blocks(config(filled))["saliency"] == filled
    copy, other = tmp_path / "copy.pth", localizer_file(tmp_path / "other.pth", seed=4)
    torch.save({"state_dict": torch.load(weights, weights_only=True), "epoch": 3}, copy)
    digests = [
        fill_blocks(config(block(file)))["saliency"]["localizer"]["digest"]
        for file in (copy, other)
    ]
    assert digests[0] == stored["digest"] != digests[1]
    assert len(stored["digest"]) == 16


def test_images_of_other_statistics_are_turned_into_its_own(weights: Path) -> None:
    pixels = torch.rand(2, 3, 32, 32)
    mean, std = torch.tensor([0.1, 0.2, 0.3]), torch.tensor([0.5, 0.6, 0.7])
    views = [{"crop_size": 32, "mean": mean.tolist(), "std": std.tolist()}]
    made = localizer(block(weights), augmentations=views)
    plain = localizer(block(weights))
    as_ours = (pixels - mean[:, None, None]) / std[:, None, None]
    as_its = (pixels - torch.tensor(IMAGENET_MEAN)[:, None, None]) / torch.tensor(IMAGENET_STD)[
        :, None, None
    ]
    torch.testing.assert_close(made(as_ours), plain(as_its), rtol=1e-4, atol=1e-3)
    own = block(weights, localizer={"mean": mean.tolist(), "std": std.tolist()})
    assert torch.equal(localizer(own, augmentations=views)(as_ours), plain(as_ours))
    digits = localizer(block(weights), data={"dataset": "digits"})
    assert digits.scale is not None
    assert digits.scale.flatten().tolist() == pytest.approx([0.376 / s for s in IMAGENET_STD])


def test_it_stays_in_evaluation_mode_and_its_weights_as_they_are(weights: Path) -> None:
    made = localizer(block(weights))
    before = {k: t.clone() for k, t in made.state_dict().items()}
    made.train()
    assert not any(m.training for m in made.modules())
    made(torch.randn(4, 3, 32, 32))
    assert not any(p.requires_grad for p in made.parameters())
    assert all(torch.equal(t, before[k]) for k, t in made.state_dict().items())
    assert not [k for k in before if "backbone" in k or "encoder" in k]
    assert {k.partition(".")[0] for k in before} == {"network"}


def test_a_checkpoint_of_another_localiser_leaves_it_alone(weights: Path, tmp_path: Path) -> None:
    """As ``init_from`` reads one."""
    made = localizer(block(weights))
    other = localizer(block(localizer_file(tmp_path / "other.pth", seed=4)))
    before = {k: t.clone() for k, t in made.state_dict().items()}
    assert not made.load_state_dict(other.state_dict()).missing_keys
    assert all(torch.equal(t, before[k]) for k, t in made.state_dict().items())


def test_a_run_that_goes_on_needs_no_file(tmp_path: Path) -> None:
    file = localizer_file(tmp_path / "weights.pth")
    filled = fill_blocks(config(block(file)))["saliency"]
    made = localizer(filled)
    other = localizer(block(localizer_file(tmp_path / "other.pth", seed=4)))
    file.unlink()
    again = localizer(filled)
    x = torch.randn(2, 3, 32, 32)
    with pytest.raises(ConfigError, match=r"localiser's weights are neither in its file"):
        again(x)
    again.load_state_dict(other.state_dict())
    with pytest.raises(ConfigError, match=r"neither in its file"):
        again(x)
    again.load_state_dict(made.state_dict())
    assert torch.equal(again(x), made(x))
    with pytest.raises(ConfigError, match=r"weights\.pth' does not exist: .* digest and backbone"):
        localizer(block(file))


def test_a_file_that_has_changed_is_refused(tmp_path: Path) -> None:
    file = localizer_file(tmp_path / "weights.pth")
    filled = fill_blocks(config(block(file)))["saliency"]
    localizer_file(file, seed=4)
    with pytest.raises(ConfigError, match=r"localizer: '.*' has other weights .* leave digest out"):
        localizer(filled)


WRONG: list[tuple[dict[str, Any], list[str]]] = [
    ({"fil": "mean"}, ["unknown key method_kwargs.saliency.fil", "did you mean fill?"]),
    ({"fill": "zero"}, ["method_kwargs.saliency.fill is 'zero'", "high_pass, blur or mean"]),
    ({"ratio": 0.2}, ["method_kwargs.saliency.ratio is 0.2", "list"]),
    ({"ratio": [0.3, 0.1]}, ["method_kwargs.saliency.ratio is [0.3, 0.1]", "[low, high]"]),
    ({"negative_ratio": [0.1, 1.2]}, ["method_kwargs.saliency.negative_ratio[1] is 1.2", "0.0 to"]),
    ({"ratio": [0.1]}, ["method_kwargs.saliency.ratio has 1 items: give 2"]),
    ({"focal_prob": 2}, ["method_kwargs.saliency.focal_prob is 2"]),
    ({"window": 0}, ["method_kwargs.saliency.window is 0"]),
    ({"filter_kernel": 10}, ["method_kwargs.saliency.filter_kernel is 10: give an odd number"]),
    ({"filter_kernel": 65}, ["saliency.filter_kernel is 65", "crop_size is 32"]),
    ({"fill": "blur", "blur_kernel": 67}, ["saliency.blur_kernel is 67", "crop_size is 32"]),
    ({"alpha": -1}, ["method_kwargs.saliency.alpha is -1"]),
    ({"negatives": "yes"}, ["method_kwargs.saliency.negatives is 'yes'", "true or false"]),
    ({"queries": "second"}, ["method_kwargs.saliency.queries is 'second'", "first or both"]),
    ({"queries": "both"}, ["saliency.queries is both", "symmetric to true"]),
    ({"localizer": "resnet50"}, ["method_kwargs.saliency.localizer is 'resnet50'", "block"]),
    ({"localizer": {"run": "x"}}, ["unknown key method_kwargs.saliency.localizer.run"]),
    ({"localizer": {"stage": 5}}, ["method_kwargs.saliency.localizer.stage is 5", "1 to 4"]),
    ({"localizer": {"stage": 4}}, ["localizer.stage is 4", "1x1 cells", "earlier stage"]),
    ({"localizer": {"std": [1, 1, 0]}}, ["saliency.localizer.std[2] is 0", "above 0"]),
    ({"localizer": {"from_run": "run"}}, ["localizer.weights is ", "from_run is run", "one"]),
    ({"localizer": {"weights": "no.pth"}}, ["localizer: checkpoint 'no.pth' does not exist"]),
    (
        {"localizer": {"backbone": {"name": "resnet18"}}},
        ["saliency.localizer: checkpoint", "does not fit resnet18", "set backbone.name"],
    ),
    ({"localizer": {"backbone": None}}, ["localizer: backbone.name is missing", "does not say"]),
    ({"localizer": {"backbone": {"name": "rsnet"}}}, ["localizer: backbone.name is 'rsnet'"]),
]


@pytest.mark.parametrize(("changes", "fragments"), WRONG)
def test_wrong_options_are_named_in_one_line(
    weights: Path, changes: dict[str, Any], fragments: list[str]
) -> None:
    given = block(weights)
    inner = changes.get("localizer")
    merged = {**given, **changes}
    if isinstance(inner, dict):
        merged["localizer"] = {**given["localizer"], **inner}
    with pytest.raises(ConfigError) as error:
        localizer(merged)
    text = str(error.value)
    assert "\n" not in text
    assert all(fragment in text for fragment in fragments), text


def test_wrong_files_are_named_in_one_line(tmp_path: Path) -> None:
    broken, text, other = (tmp_path / name for name in ("a.pth", "b.pth", "c.pth"))
    torch.save({"w": torch.zeros(2)}, broken)
    text.write_text("no checkpoint")
    torch.save(timm.create_model("convnext_atto", num_classes=0).state_dict(), other)
    with pytest.raises(ConfigError, match=r"saliency\.localizer: checkpoint .*a\.pth'.* does not"):
        localizer(block(broken))
    with pytest.raises(ConfigError, match=r"saliency\.localizer: checkpoint .*b\.pth' cannot be"):
        localizer(block(text))
    with pytest.raises(ConfigError, match=r"backbone\.name is convnext_atto: only a ResNet's"):
        localizer(block(other, localizer={"backbone": {"name": "convnext_atto"}}))
    given = {"from_run": str(localizer_file(tmp_path / "d.pth")), "stage": 1}
    with pytest.raises(ConfigError, match=r"from_run: '.*d\.pth' is of no run of ours"):
        localizer({"localizer": given})
    named = {"backbone": {"name": "resnet10t"}}
    with pytest.raises(ConfigError, match=r"backbone\.name is resnet10t: torchvision has no weig"):
        localizer({"localizer": named})

# SPDX-License-Identifier: MIT
"""ADIOS' block: what it fills in and refuses, its branches, and masks that get harder."""

from __future__ import annotations

from typing import Any

import pytest
import torch
from omegaconf import OmegaConf
from torch import Tensor

from mixmask_solo.config import ConfigError
from mixmask_solo.methods import get_method
from mixmask_solo.runs.pretrain import resolve
from mixmask_solo.strategies import Step, build_strategies, fill_blocks
from support.methods import run_config

STEP = Step(3, 0, 0, 0, torch.device("cpu"))


def strategy(method: str = "simclr", **options: Any) -> Any:
    [made] = build_strategies(run_config(method, {"adios": options}))
    return made


@pytest.fixture
def views() -> tuple[Tensor, Tensor]:
    x, y = torch.rand(2, 5, 3, 24, 24)
    return x, y


@pytest.mark.parametrize(
    ("method", "kwargs", "filled"),
    [
        ("simclr", {}, ("second", "pair", False, False)),
        ("byol", {}, ("second", "pair", False, False)),
        ("simsiam", {}, ("both", "pair", True, True)),
        ("simsiam", {"adios": {"views": "second"}}, ("second", "pair", True, False)),
        ("mocov2plus", {}, ("second", "query", False, False)),
        ("mocov2", {"symmetric": True}, ("second", "query", False, False)),
        ("mocov2", {"symmetric": False}, ("first", "query", False, False)),
    ],
)
def test_what_is_null_is_filled_in_as_published(
    method: str, kwargs: dict[str, Any], filled: tuple[Any, ...]
) -> None:
    cfg = run_config(method, {"adios": {}, **kwargs}, optimizer={"weight_decay": 3e-5})
    once = fill_blocks(cfg)
    block = once["adios"]
    assert tuple(block[k] for k in ("views", "pairing", "clean", "both_masked")) == filled
    assert (block["size"], block["depth"], block["weight_decay"]) == (24, 3, 3e-5)
    cfg.method_kwargs = OmegaConf.create(once)
    assert fill_blocks(cfg) == once


WRONG: list[tuple[str, dict[str, Any], dict[str, Any], list[str]]] = [
    ("simclr", {"slot": 4}, {}, ["unknown key method_kwargs.adios.slot", "slots"]),
    ("simclr", {"slots": 1}, {}, ["adios.slots is 1", "at least 2"]),
    ("simclr", {"alpha": -1}, {}, ["adios.alpha is -1", "at least 0"]),
    ("simclr", {"schedule": "alternate"}, {}, ["adios.schedule", "did you mean alternating?"]),
    ("simclr", {"norm": "batch"}, {}, ["adios.norm is 'batch'", "group, instance or none"]),
    ("simclr", {"width": 12}, {}, ["adios.width is 12", "multiple of 8"]),
    ("simclr", {"lr": 0}, {}, ["adios.lr is 0", "above 0"]),
    ("simclr", {"depth": 5}, {}, ["adios.depth is 5", "at most 4"]),
    ("simclr", {"size": 32}, {}, ["adios.size is 32", "augmentations[0].crop_size is 24"]),
    ("byol", {"both_masked": True}, {}, ["adios.both_masked is true", "simsiam"]),
    ("simsiam", {"both_masked": True, "views": "first"}, {}, ["both_masked is true", "both"]),
    ("mocov2", {"views": "both"}, {}, ["adios.views is both", "symmetric false"]),
    ("mocov2", {"pairing": "pair"}, {}, ["adios.pairing is pair"]),
    ("simclr", {}, {"precision": "16-mixed"}, ["precision is 16-mixed", "bf16-mixed or 32"]),
    (
        *("simclr", {}),
        {"augmentations": [{"crop_size": 24, "num_crops": 2}, {"crop_size": 16, "num_crops": 1}]},
        ["augmentations makes crops", "2 of size 24, 1 of size 16", "exactly 2"],
    ),
    (
        *("simclr", {}, {"augmentations": [{"crop_size": 6, "num_crops": 2}]}),
        ["crop_size is 6", "at least 8"],
    ),
]


@pytest.mark.parametrize(("method", "block", "more", "said"), WRONG)
def test_a_wrong_option_is_one_line(
    method: str, block: dict[str, Any], more: dict[str, Any], said: list[str]
) -> None:
    kwargs = {"adios": block} | ({"symmetric": False} if method == "mocov2" else {})
    with pytest.raises(ConfigError) as error:
        resolve(run_config(method, kwargs, **more))
    text = str(error.value)
    assert "\n" not in text
    assert not [words for words in said if words not in text], text


@pytest.mark.parametrize(
    ("name", "block"), [("mscn", {"patch_size": 8}), ("erase", {"grid_size": 2})]
)
def test_what_works_through_the_views_own_loss_is_refused_beside_it(
    name: str, block: dict[str, Any]
) -> None:
    with pytest.raises(ConfigError, match=rf"method_kwargs\.{name} is given beside .*adios: "):
        resolve(run_config("simclr", {"adios": {}, name: block}))
    if name == "erase":
        beside = {"adios": {}, name: {**block, "role": "branch"}}
        assert resolve(run_config("simclr", beside)).method_kwargs.erase.role == "branch"


@pytest.mark.parametrize("method", ["vicreg", "barlow_twins", "dino", "swav", "mocov3", "nnclr"])
def test_other_methods_are_refused_by_name(method: str) -> None:
    cfg = OmegaConf.create({"method": method, "method_kwargs": {"adios": {}}})
    with pytest.raises(ConfigError, match=rf"adios is given, but method is {method}.*choose byol"):
        fill_blocks(cfg)


def test_each_slot_hides_its_part_of_view_two(views: tuple[Tensor, Tensor]) -> None:
    adios = strategy(slots=3)
    branches = adios.branches(views, STEP)
    assert [(b.view, b.targets, b.pairing, b.weight) for b in branches] == [
        (1, "other", "pair", 1.0)
    ] * 3
    images = torch.stack([b.images for b in branches])
    torch.testing.assert_close(images.sum(0), 2 * views[1])  # Σ (1 - m) = slots - 1
    assert not images.requires_grad
    assert adios.host_weight == 0.0
    areas = adios.masks(views)[1].mean((0, 2, 3))
    found = adios.metrics()
    torch.testing.assert_close(found["area_min"], areas.min())
    torch.testing.assert_close(found["area_max"], areas.max())
    torch.testing.assert_close(areas.sum(), torch.tensor(1.0))


def test_one_slot_an_image_the_same_when_the_step_is_repeated() -> None:
    adios, n = strategy(single=True, slots=3), 600
    views = (torch.ones(n, 3, 24, 24),) * 2
    [branch] = adios.branches(views, STEP)
    assert torch.equal(adios.branches(views, STEP)[0].images, branch.images)
    masks = adios.masks(views)[1]
    shown = 1 - branch.images[:, :1]
    drawn = [(masks[:, s : s + 1] - shown).abs().amax((1, 2, 3)) < 1e-6 for s in range(3)]
    counts = torch.stack(drawn).sum(1)
    assert counts.sum() == n
    assert ((counts - n / 3).abs() < 5 * (n * 2 / 9) ** 0.5).all()


def test_simsiams_terms_are_averaged(views: tuple[Tensor, Tensor]) -> None:
    """Directions: 4 of pairs with a whole view, 2 of the whole views, 2 of the masked ones."""
    adios = strategy("simsiam", slots=2)
    branches = adios.branches(views, STEP)
    assert [b.weight for b in branches] == pytest.approx([2 / 8] * 6)
    assert [(b.view, b.against is not None) for b in branches] == [
        (0, False),
        (1, False),
        (1, True),
    ] * 2
    assert branches[2].against is branches[0]
    assert branches[2].images is branches[1].images
    assert adios.host_weight == pytest.approx(2 * 2 / 8)


@pytest.mark.parametrize(
    ("method", "options"), [("simclr", {}), ("byol", {"single": True}), ("simsiam", {"slots": 2})]
)
def test_masks_get_harder_while_the_networks_stand_still(
    method: str, options: dict[str, Any]
) -> None:
    torch.manual_seed(0)
    block = {"lr": 0.3, "norm": "instance", "alpha": 0.05, **options}
    cfg = resolve(run_config(method, {"adios": block}, backbone={"name": "resnet10t"}))
    cfg.data.num_classes = 10
    model = get_method(method, "builtin")(cfg)
    told: dict[str, list[float]] = {"train_adios_mask_loss": [], "train_mixture_loss": []}

    def log(values: dict[str, Any], **_: Any) -> None:
        for name in told.keys() & values.keys():
            told[name].append(float(values[name]))

    model.log, model.log_dict = lambda name, value, **_: log({name: value.detach()}), log
    views = [torch.rand(8, 3, 24, 24) for _ in range(2)]
    labels = torch.arange(8)
    before = [p.clone() for p in model.backbone.parameters()]
    for _ in range(12):  # the networks' gradient is never taken
        model.training_step([labels, views, labels], 0)
        model.own_steps()
    minimised, hard = told.values()
    assert len(minimised) == len(hard) == 12
    assert minimised[-1] < minimised[0] - 0.02
    assert hard[-1] > hard[0] + 0.02  # the same networks, the same images, other masks
    assert all(map(torch.equal, model.backbone.parameters(), before))
    areas = model.strategies["adios"].metrics()
    assert areas["area_min"] > 0.02
    assert areas["area_max"] < 0.9

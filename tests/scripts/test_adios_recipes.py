# SPDX-License-Identifier: MIT
"""ADIOS' recipes against its scripts' values, as they are printed there."""

from __future__ import annotations

import shlex
from pathlib import Path
from typing import Any, NamedTuple

import pytest

from mixmask_solo.strategies import build_strategies
from mixmask_solo.tables.head import head_of
from support.published import Run, rates_of, warm_cosine
from support.recipes import built, drawn, views

SCRIPTS = Path(__file__).parents[2] / "scripts"
FILES = sorted(SCRIPTS.rglob("*_adios*.yaml"))


class Script(NamedTuple):
    """What a script of ADIOS' says: rates as they are used, jitter, heads, the occluder's keys."""

    lr: float
    mask_lr: float
    alpha: float
    entropy: float
    slots: int
    width: int
    norm: str
    epochs: int
    decay: float
    jitter: tuple[float, float, float, float]
    size: int
    out: int
    depth: int
    batch: int = 128
    terms: tuple[str, bool, bool] = ("pair", False, False)  # pairing, clean, both masked


STRONG = (0.8, 0.8, 0.8, 0.2)
PUBLISHED = {
    ("imagenet-100", "simclr_adios"): Script(
        *(0.18955780763100336, 0.4987622134866454, 0.75, 0, 4, 8, "group", 400, 1e-4),
        *((0.7, 0.6, 0.8, 0.15), 224, 128, 6),
    ),
    ("imagenet-100", "byol_adios"): Script(
        *(0.8087906078374081, 0.12952098519347935, 1, 0, 6, 32, "group", 400, 1e-5),
        *((0.5, 0.2, 0.25, 0.05), 224, 256, 6),
    ),
    ("imagenet-100", "simsiam_adios"): Script(
        *(0.5424648008289498, 0.4846424666121607, 0.5, 0, 4, 32, "group", 400, 1e-5),
        *((0.4, 0.4, 0.4, 0.1), 224, 2048, 4),
        terms=("pair", True, True),
    ),
    ("imagenet-100", "simclr_adios96"): Script(
        *(0.11127702230184772, 0.014515024186652984, 0.9229467944410698, 0.711773255433044),
        *(4, 32, "instance", 500, 1e-4, STRONG, 96, 128, 5),
    ),
    ("imagenet-100", "byol_adios96"): Script(
        *(0.24140186236916927, 0.06599301363636853, 0.40384562663515944, 0, 6, 16, "group", 500),
        *(1e-5, (0.4, 0.4, 0.2, 0.1), 96, 256, 5),
    ),
    ("imagenet-100", "simsiam_adios96"): Script(
        *(0.8470842123448166, 0.08023435854528733, 0.200319625755856, 0.2857646914017864, 4, 16),
        *("group", 500, 1e-5, (0.4, 0.4, 0.4, 0.1), 96, 2048, 4),
        terms=("query", True, True),
    ),
    ("stl10", "simclr_adios"): Script(
        *(0.13234838295784523, 0.01946841419435407, 0, 0, 6, 128, "group", 400),
        *(8.504658547335148e-5, STRONG, 96, 256, 5, 256),
    ),
    ("stl10", "byol_adios"): Script(
        *(0.2920279558260822, 0.09281403683825379, 1.7193143216139353, 0, 6, 64, "group", 400),
        *(9.912019840903654e-6, STRONG, 96, 256, 5),
    ),
    ("stl10", "simsiam_adios"): Script(
        *(0.4436168048573669, 0.038296424016559166, 1, 0, 6, 32, "group", 400),
        *(7.227625739330174e-6, (0.5521874334305088, 0.4775521429505951, 0.5784474905390056, 0.2)),
        *(96, 256, 5),
        terms=("query", True, False),
    ),
}
HEADS = {
    "simclr": ("Linear(512,2048) ReLU Linear(2048,{out})", ""),
    "byol": (
        "Linear(512,4096) BN ReLU Linear(4096,256)",
        "Linear(256,8192) BN ReLU Linear(8192,256)",
    ),
    "simsiam": (
        "Linear(512,2048)- BN ReLU Linear(2048,2048)- BN ReLU Linear(2048,{out}) BN(no affine)",
        "Linear({out},512)- BN ReLU Linear(512,{out})",
    ),
}
DIGITS = SCRIPTS / "pretrain" / "digits" / "simclr_adios.yaml"


def close(value: float) -> Any:
    return pytest.approx(value, rel=5e-4)  # four digits


def test_none_is_missing_and_the_readme_lists_them() -> None:
    wanted = [SCRIPTS / "pretrain" / folder / f"{name}.yaml" for folder, name in PUBLISHED]
    assert sorted([*wanted, DIGITS]) == FILES
    table = (SCRIPTS / "README.md").read_text()
    assert all(f"`{file.relative_to(SCRIPTS).as_posix()}`" in table for file in FILES)


@pytest.mark.parametrize(("folder", "name"), PUBLISHED)
def test_a_recipe_is_its_script(folder: str, name: str, recipe: Any) -> None:
    s, cfg = PUBLISHED[folder, name], recipe(folder, name)
    method = name.partition("_")[0]
    assert (cfg.method, cfg.max_epochs, cfg.precision) == (method, s.epochs, "32")
    assert cfg.name == f"{method}-adios{'96' * name.endswith('96')}-{cfg.data.dataset}"
    o = cfg.optimizer
    assert (o.name, o.batch_size, dict(o.kwargs)["eta"]) == ("lars", s.batch, 0.02)
    assert (o.kwargs.momentum, o.kwargs.clip_lr, o.kwargs.exclude_bias_n_norm) == (0.9, True, True)
    assert (o.lr, o.classifier_lr, o.weight_decay) == (close(s.lr), close(0.1), close(s.decay))
    block = cfg.method_kwargs.adios
    assert (block.lr, block.weight_decay) == (close(s.mask_lr), close(s.decay))
    assert (block.momentum, block.eta, block.schedule) == (0.9, 0.02, "alternating")
    assert (block.alpha, block.entropy) == (close(s.alpha), close(s.entropy))
    found = (block.slots, block.width, block.norm, block.depth, block.size)
    assert found == (s.slots, s.width, s.norm, s.depth, s.size)
    assert (block.pairing, block.clean, block.both_masked) == s.terms
    assert block.single is (s.size == 224)
    assert block["views"] == ("both" if method == "simsiam" else "second")
    for view in views(cfg):
        assert (view.scale, view.kernel, view.grey, view.blur) == (0.08, "bicubic", 0.2, 0.5)
        assert (view.size, view.solarise, view.jitter) == (s.size, 0.0, close(s.jitter))
    assert cfg.backbone.name == "resnet18"


@pytest.mark.parametrize(("folder", "name"), PUBLISHED)
def test_heads_and_rates_over_time(folder: str, name: str, recipe: Any) -> None:
    s, cfg = PUBLISHED[folder, name], recipe(folder, name)
    model = built(cfg)
    head, predictor = HEADS[cfg.method]
    assert drawn(model.projector) == head.format(out=s.out)
    if predictor:
        assert drawn(model.predictor) == predictor.format(out=s.out)
    # The scripts' schedule moves once an epoch, so that an epoch is its unit.
    at = [Run(e * 7, 7, s.epochs) for e in (0, 1, 9, 10, s.epochs // 2, s.epochs - 1)]
    published = warm_cosine(s.lr, 10, 0.003)
    expected = [published(Run(r.epoch, 1, s.epochs)) for r in at]
    assert rates_of(model, at) == close(expected)
    if cfg.method == "byol":
        updater = model.momentum_updater
        assert (updater.base_tau, updater.final_tau) == (0.99, 1.0)


@pytest.mark.parametrize("file", FILES, ids=lambda f: f"{f.parent.name}-{f.stem}")
def test_heads_name_command_cost_and_outcome(file: Path, recipe: Any) -> None:
    head = head_of(file)
    command = shlex.split(head["Run"].replace("\\\n", " ").splitlines()[0])
    assert command == [
        *("mixmask-pretrain", "--config-path", f"scripts/pretrain/{file.parent.name}"),
        *("--config-name", file.stem),
    ]
    assert all(head[part].strip() for part in ("Cost", "Outcome", "Choices", "Laptop"))
    if file == DIGITS:
        return
    said = " ".join(head["Differs"].split())
    assert "once a step" in said
    assert ("as targets" in said) is ("simclr" not in file.stem)
    assert ("Pillow" in said) is ("0.229" in said) is (file.parent.name == "imagenet-100")
    overrides = [word for word in head["Laptop"].split() if "=" in word]
    cfg = recipe(file.parent.name, file.stem, *overrides)
    assert (cfg.accelerator, cfg.devices, cfg.max_epochs) == ("cpu", 1, 1)


def test_digits_add_a_block_to_simclr(recipe: Any) -> None:
    plain, mine = recipe("digits", "simclr"), recipe("digits", "simclr_adios")
    [adios] = build_strategies(mine)
    assert (adios.options.single, adios.options.size) == (True, 32)
    mine.method_kwargs.pop("adios")
    mine.name = plain.name
    assert mine == plain

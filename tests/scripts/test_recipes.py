# SPDX-License-Identifier: MIT
"""Every YAML under scripts/ composes, validates and says in its head what it costs and gives."""

from __future__ import annotations

import shlex
from dataclasses import asdict, fields
from itertools import product
from pathlib import Path
from typing import Any

import pytest
from omegaconf import DictConfig

from mixmask_solo.cli.compose import compose
from mixmask_solo.config import resolve_finetune, resolve_linear, to_values
from mixmask_solo.runs.contradictions import differences
from mixmask_solo.strategies import blocks
from mixmask_solo.strategies.erase import EraseOptions
from mixmask_solo.strategies.grid_masks import GridOptions
from mixmask_solo.strategies.localizer import LocalizerOptions, map_size
from mixmask_solo.strategies.mixmask import MixMaskOptions
from mixmask_solo.strategies.saliency import SaliencyOptions
from mixmask_solo.strategies.unmix import UnMixOptions
from mixmask_solo.tables.head import head_of

SCRIPTS = Path(__file__).parents[2] / "scripts"
# Those of ADIOS, which are no method's plus a block, are in test_adios_recipes.py.
FILES = sorted(
    file
    for file in SCRIPTS.rglob("*.yaml")
    if "_adios" not in file.stem
    and not {"slurm", "tables"} & {*file.parts}  # tests/jobs, test_tables.py
)
PRETRAIN = [file for file in FILES if "pretrain" in file.parts]
LINEAR = [file for file in FILES if "linear" in file.parts]
FINETUNE = [file for file in FILES if file.parents[1].name == "finetune"]
DETECT = [file for file in FILES if file.parent.parent.name == "detect"]  # test_detect_recipes.py
VARIED = [file for file in PRETRAIN if "_" in file.stem]
METHODS = ("mocov2", "mocov2plus", "byol", "simclr", "simsiam")
DATASETS = ("cifar", "tiny-imagenet", "imagenet", "imagenet-100")
VARIANTS = {
    "": (),
    "_unmix": ("unmix",),
    "_mixmask": ("mixmask",),
    "_mixmask_unmix": ("mixmask", "unmix", "permutations"),
}
ERASED = {"_erase": ("erase",), "_noise": ("erase",)}
BLOCKS = {**VARIANTS, **ERASED, "_mscn": ("mscn",), "_saliency": ("saliency",), "_resnet50": ()}
MASKS: dict[str, dict[str, Any]] = {
    "digits": {"grid_size": 2, "mask_type": "block"},
    "cifar": {"grid_size": 2, "mask_type": "discrete"},
    "tiny-imagenet": {"grid_size": 4, "mask_type": "block"},
    "imagenet": {"grid_size": 8, "mask_type": "block"},
    "imagenet-100": {"grid_size": 8, "mask_type": "block"},
}
DIGITS = [
    *(m + v for m, v in product(("byol", "mocov2plus", "simclr", "simsiam"), ("", "_mixmask"))),
    *("simclr_mixmask_unmix", "simclr_erase"),
]
GRID = [(d, m + v) for d, m, v in product(DATASETS, METHODS, VARIANTS)]
GRID += [(d, m + v) for d, m, v in product(DATASETS[:3], METHODS, ERASED)]
GRID += [("digits", name) for name in DIGITS]
# Recipes of their own: what each is stands in a test of its own.
OTHERS = [
    *[(d, "mocov2_mscn") for d in ("imagenet", "imagenet-100")],
    *[(d, "simclr_mscn") for d in ("imagenet", "imagenet-100", "digits")],
]
SALIENCY = [("imagenet-100", "mocov2_saliency"), ("imagenet-100", "simclr_saliency")]
SALIENCY += [("digits", "mocov2plus_saliency")]
# a vanilla beside the method's own, with the setting of another paper
INSTEAD = {"simclr_saliency": "simclr_resnet50"}
GRID += [*SALIENCY, ("imagenet-100", "simclr_resnet50")]


def _id(file: Path) -> str:
    return "/".join(file.relative_to(SCRIPTS).parts)


def _file(dataset: str, name: str) -> Path:
    return SCRIPTS / "pretrain" / dataset / f"{name}.yaml"


def _split(name: str) -> tuple[str, str]:
    method, *blocks = name.split("_")
    return method, "".join(f"_{block}" for block in blocks)


def _linear(file: Path, *overrides: str) -> DictConfig:
    given = ["pretrained_feature_extractor=last.ckpt", *overrides]
    return resolve_linear(compose(str(file.parent), file.stem, given), trainer_keys={"probe"})


def _finetune(file: Path, *overrides: str) -> DictConfig:
    given = ["pretrained_feature_extractor=last.ckpt", *overrides]
    return resolve_finetune(compose(str(file.parent), file.stem, given))


def test_the_table_of_recipes_is_complete() -> None:
    assert {_id(file) for file in PRETRAIN} == {
        f"pretrain/{d}/{name}.yaml" for d, name in GRID + OTHERS
    }
    assert {file.parent.name for file in LINEAR} == {"digits", "transfer", *DATASETS}
    assert {file.parent.name for file in FINETUNE} == {"digits", "cifar", *DATASETS[2:]}
    assert len(PRETRAIN) + len(LINEAR) + len(FINETUNE) + len(DETECT) == len(FILES)


@pytest.mark.parametrize(("dataset", "name"), GRID + OTHERS)
def test_a_pretraining_recipe_validates_and_is_what_its_name_says(
    dataset: str, name: str, recipe: Any
) -> None:
    cfg = recipe(dataset, name)
    method, variant = _split(name)
    assert cfg.method == method
    assert set(blocks()) & set(cfg.method_kwargs) == set(BLOCKS[variant])
    assert cfg.name.startswith(f"{method}{variant.replace('_', '-')}-{cfg.data.dataset}")
    assert cfg.data.num_large_crops == 2
    assert cfg.data.dataset.startswith(dataset.replace("-100", "100"))


@pytest.mark.parametrize(("dataset", "name"), SALIENCY)
def test_saliency_is_the_method_plus_its_block(dataset: str, name: str, recipe: Any) -> None:
    plain, masked = recipe(dataset, INSTEAD.get(name, _split(name)[0])), recipe(dataset, name)
    block = masked.method_kwargs.pop("saliency")
    masked.name = plain.name
    assert masked == plain
    kind = {"imagenet-100": ("high_pass", 4, "resnet50"), "digits": ("mean", 2, "resnet10t")}
    localizer = block.localizer
    assert (block.fill, localizer.stage, localizer.backbone.name) == kind[dataset]
    cells = {"imagenet-100": (7, 7), "digits": (4, 4)}
    size = plain.augmentations[0].crop_size
    assert map_size(LocalizerOptions(**localizer), size) == cells[dataset]
    assert localizer.scale is None  # both see images of the same statistics
    queries = "both" if plain.method == "mocov2plus" else "first"
    stored = {**block, "localizer": LocalizerOptions()}
    published = SaliencyOptions(fill=block.fill, queries=queries, negatives=True)
    assert SaliencyOptions(**stored) == published


@pytest.mark.parametrize(
    ("dataset", "name"), [x for x in GRID if _split(x[1])[1] in list(VARIANTS)[1:]]
)
def test_a_variant_is_the_method_plus_its_blocks(dataset: str, name: str, recipe: Any) -> None:
    method, variant = _split(name)
    plain, mixed = recipe(dataset, method), recipe(dataset, name)
    found = {key: mixed.method_kwargs.pop(key) for key in BLOCKS[variant]}
    mixed.name = plain.name
    assert mixed == plain
    mask = MASKS[dataset] | ({} if dataset == "digits" else {"ratio": 0.5})
    each = method in ("byol", "mocov2plus") or plain.method_kwargs.get("symmetric", False)
    erased = {
        "fill": "noise" if variant == "_noise" else "zero",
        "views": "both" if each else "query",
    }
    partner = "random" if "permutations" in found else "reverse"
    published = {
        "mixmask": {**asdict(MixMaskOptions(**mask)), "partner": partner},
        "unmix": {**asdict(UnMixOptions(prob=0.5)), "partner": "reverse"},
        "permutations": "different",
        "erase": asdict(EraseOptions(**mask, **erased)),
    }
    assert found == {key: published[key] for key in found}


@pytest.mark.parametrize(("dataset", "name"), [x for x in GRID if x[1].endswith(tuple(ERASED))])
def test_erasing_is_compared_with_mixmask_mask_for_mask(
    dataset: str, name: str, recipe: Any
) -> None:
    method, _ = _split(name)
    mixed, erased = recipe(dataset, f"{method}_mixmask"), recipe(dataset, name)
    branch = recipe(dataset, name, "method_kwargs.erase.role=branch")
    for cfg in (erased, branch):
        mask = cfg.method_kwargs.erase
        assert all(mask[f.name] == mixed.method_kwargs.mixmask[f.name] for f in fields(GridOptions))
        assert (cfg.seed, cfg.max_epochs) == (mixed.seed, mixed.max_epochs)
    assert "method_kwargs.erase.role=branch" in head_of(_file(dataset, name))["Choices"]


@pytest.mark.parametrize("file", [f for f in VARIED if not f.stem.endswith("_unmix")], ids=_id)
def test_block_masks_of_our_generator_are_named_so_in_the_head(file: Path, recipe: Any) -> None:
    kwargs = recipe(file.parent.name, file.stem).method_kwargs
    mask = kwargs.get("mixmask") or kwargs.get("erase") or MixMaskOptions()  # others have no grid
    said = " ".join(head_of(file).get("Choices", "").split())
    ours = mask.mask_type == "block" and mask.grid_size < 4
    assert ("block masks of 2x2 cells by a generator of ours" in said) is ours


@pytest.mark.parametrize("file", LINEAR, ids=_id)
def test_a_probe_composes_and_validates(file: Path) -> None:
    cfg = _linear(file)
    sizes = {"imagenet": 224, "imagenet-100": 224, "tiny-imagenet": 64, "transfer": 224}
    assert cfg.data.augmentations.crop_size == sizes.get(file.parent.name, 32)
    assert cfg.finetune is False


@pytest.mark.parametrize("file", FILES, ids=_id)
def test_the_head_names_command_cost_and_outcome(file: Path) -> None:
    head = head_of(file)
    command = shlex.split(head["Run"].replace("\\\n", " ").splitlines()[0])
    kind = file.relative_to(SCRIPTS).parts[0]
    assert command[0] == f"mixmask-{kind}"
    assert command[command.index("--config-path") + 1] == f"scripts/{kind}/{file.parent.name}"
    assert command[command.index("--config-name") + 1] == file.stem
    assert head["Cost"].strip()
    assert head["Outcome"].strip()
    if kind == "pretrain" and file.parent.name != "digits":
        assert head["Differs"].strip()


@pytest.mark.parametrize("file", [f for f in FILES if f not in VARIED + DETECT], ids=_id)
def test_the_laptop_line_is_a_valid_run(file: Path, recipe: Any) -> None:
    overrides = [word for word in head_of(file).get("Laptop", "").split() if "=" in word]
    if file in LINEAR + FINETUNE:
        cfg = (_linear if file in LINEAR else _finetune)(file, *overrides)
    else:
        cfg = recipe(file.parent.name, file.stem, *overrides)
    if file.parent.name != "digits":
        # the demo's last epoch runs at rate 0: one alone would learn nothing
        epochs = 2 if cfg.scheduler.name == "cosine_from_one" else 1
        assert (cfg.accelerator, cfg.devices, cfg.max_epochs) == ("cpu", 1, epochs)
        assert cfg.precision == "32"


@pytest.mark.parametrize("file", VARIED, ids=_id)
def test_a_variant_has_its_methods_laptop_line(file: Path) -> None:
    plain = file.with_stem(_split(file.stem)[0])
    lines = [head_of(each)["Laptop"].partition("(")[0].split() for each in (file, plain)]
    assert lines[0] == lines[1]  # each has its own minutes


def test_cifar10_by_one_override(recipe: Any) -> None:
    cfg = recipe("cifar", "simclr_mixmask", "data.dataset=cifar10")
    assert (cfg.data.num_classes, cfg.name) == (10, "simclr-mixmask-cifar10")


@pytest.mark.parametrize("dataset", ["cifar", "imagenet"])
def test_the_fast_settings_of_a_gpu_are_one_override(dataset: str, recipe: Any) -> None:
    plain, fast = recipe(dataset, "byol_mixmask"), recipe(dataset, "byol_mixmask", "+hardware=gpu")
    found = {(d.key, d.new) for d in differences(to_values(plain), to_values(fast))}
    compiled = {("performance.compile", True), ("performance.tf32", True)}
    assert found == {("precision", "bf16-mixed"), ("benchmark", True)} | compiled
    assert fast.performance.disable_channel_last is False


def test_the_readme_lists_every_file() -> None:
    table = (SCRIPTS / "README.md").read_text()
    for file in FILES:
        method, variant = _split(file.stem)
        family = file in PRETRAIN and file.parent.name in DATASETS and variant in VARIANTS | ERASED
        name = f"{method}*" if family else file.stem
        assert f"`{_id(file.with_stem(name))}`" in table

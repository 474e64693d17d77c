# SPDX-License-Identifier: MIT
"""Every YAML under scripts/ composes, validates and says in its head what it costs and gives."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
from hydra import compose, initialize_config_dir
from omegaconf import DictConfig

from mixmask_solo.config import resolve_linear, resolve_pretrain

SCRIPTS = Path(__file__).parents[2] / "scripts"
FILES = sorted(SCRIPTS.rglob("*.yaml"))
PRETRAIN = [file for file in FILES if "pretrain" in file.parts]
LINEAR = [file for file in FILES if "linear" in file.parts]
METHODS = ("byol", "mocov2plus", "simclr", "simsiam")
DATASETS = ("digits", "cifar", "tiny-imagenet", "imagenet")


def _id(file: Path) -> str:
    return "/".join(file.relative_to(SCRIPTS).parts)


def _compose(file: Path, *overrides: str) -> DictConfig:
    with initialize_config_dir(str(file.parent), version_base="1.3"):
        return compose(file.stem, overrides=list(overrides))


def _pretrain(dataset: str, name: str, *overrides: str) -> DictConfig:
    cfg = _compose(SCRIPTS / "pretrain" / dataset / f"{name}.yaml", *overrides)
    return resolve_pretrain(cfg, blocks={"mixmask"})


def _processes(cfg: DictConfig) -> int:
    return cfg.devices if isinstance(cfg.devices, int) else len(cfg.devices)


def test_the_table_of_recipes_is_complete() -> None:
    expected = {
        f"pretrain/{dataset}/{method}{kind}.yaml"
        for dataset in DATASETS
        for method in METHODS
        for kind in ("", "_mixmask")
    }
    assert {_id(file) for file in PRETRAIN} == expected
    assert {file.parent.name for file in LINEAR} == set(DATASETS)
    assert len(PRETRAIN) + len(LINEAR) == len(FILES)


@pytest.mark.parametrize("file", PRETRAIN, ids=_id)
def test_a_pretraining_recipe_composes_and_validates(file: Path) -> None:
    cfg = resolve_pretrain(_compose(file), blocks={"mixmask"})
    assert cfg.method == file.stem.removesuffix("_mixmask")
    assert ("mixmask" in cfg.method_kwargs) == file.stem.endswith("_mixmask")
    assert ("mixmask" in cfg.name) == file.stem.endswith("_mixmask")
    assert cfg.data.num_large_crops == 2
    assert cfg.data.dataset.startswith(file.parent.name)


@pytest.mark.parametrize("file", LINEAR, ids=_id)
def test_a_probe_composes_and_validates(file: Path) -> None:
    cfg = resolve_linear(_compose(file, "pretrained_feature_extractor=last.ckpt"), blocks={"probe"})
    assert cfg.data.augmentations.crop_size == {"imagenet": 224, "tiny-imagenet": 64}.get(
        file.parent.name, 32
    )
    assert cfg.finetune is False


@pytest.mark.parametrize("file", FILES, ids=_id)
def test_the_head_names_command_cost_and_outcome(file: Path) -> None:
    head = [line for line in file.read_text().splitlines() if line.startswith("#")]
    text = "\n".join(head)
    command = f"--config-path scripts/{file.parent.relative_to(SCRIPTS)}"
    assert command in text
    assert f"--config-name {file.stem}" in text
    assert "# Cost:" in text
    assert "# Outcome:" in text


@pytest.mark.parametrize("file", FILES, ids=_id)
def test_the_laptop_line_is_a_valid_run(file: Path) -> None:
    lines = file.read_text().splitlines()
    overrides: list[str] = []
    taking = False
    for line in lines:
        label = line[2:11].strip()
        taking = label == "Laptop:" or (taking and not label and line.startswith("#"))
        if taking:
            overrides += [word for word in line[2:].split() if "=" in word]
    if "linear" in file.parts:
        overrides.append("pretrained_feature_extractor=last.ckpt")
        cfg = resolve_linear(_compose(file, *overrides), blocks={"probe"})
    else:
        cfg = resolve_pretrain(_compose(file, *overrides), blocks={"mixmask"})
    assert file.parent.name == "digits" or (cfg.accelerator, cfg.devices) == ("cpu", 1)


@pytest.mark.parametrize("dataset", DATASETS)
@pytest.mark.parametrize("method", METHODS)
def test_mixmask_adds_its_block_and_changes_nothing_else(dataset: str, method: str) -> None:
    plain, mixed = _pretrain(dataset, method), _pretrain(dataset, f"{method}_mixmask")
    del mixed.method_kwargs.mixmask
    mixed.name = plain.name
    assert mixed == plain


# (data set, method): learning rate after scaling, weight decay, global batch, as the papers print
PUBLISHED: dict[tuple[str, str], tuple[float, float, int]] = {
    ("cifar", "mocov2plus"): (0.06, 5e-4, 512),
    ("cifar", "simclr"): (3e-3, 1e-6, 512),
    ("cifar", "byol"): (3e-3, 1e-6, 512),
    ("cifar", "simsiam"): (0.06, 5e-4, 512),
    ("tiny-imagenet", "mocov2plus"): (0.06, 5e-4, 512),
    ("tiny-imagenet", "simclr"): (2e-3, 1e-6, 512),
    ("tiny-imagenet", "byol"): (2e-3, 1e-6, 512),
    ("imagenet", "mocov2plus"): (0.03, 1e-4, 256),
    ("imagenet", "simsiam"): (0.1, 1e-4, 512),
    ("imagenet", "simclr"): (4.8, 1e-6, 4096),
    ("digits", "simclr"): (1e-3, 1e-4, 128),
}


@pytest.mark.parametrize(("dataset", "method"), PUBLISHED)
def test_the_scaled_learning_rate_is_the_published_one(dataset: str, method: str) -> None:
    lr, weight_decay, batch = PUBLISHED[dataset, method]
    cfg = _pretrain(dataset, method)
    assert cfg.optimizer.lr == pytest.approx(lr)
    assert cfg.optimizer.weight_decay == pytest.approx(weight_decay)
    assert cfg.optimizer.batch_size * _processes(cfg) * cfg.num_nodes == batch


def test_byol_on_imagenet_reaches_its_batch_by_accumulation() -> None:
    cfg = _pretrain("imagenet", "byol")
    assert cfg.optimizer.batch_size * _processes(cfg) * cfg.accumulate_grad_batches == 4096
    # the host multiplies by the number of accumulated batches
    assert cfg.optimizer.lr * cfg.accumulate_grad_batches == pytest.approx(0.45 * 4096 / 256)


@pytest.mark.parametrize(
    ("dataset", "method", "steps"), [("cifar", "simclr", 97), ("tiny-imagenet", "byol", 195)]
)
def test_htdt_warms_up_for_500_steps_and_decays_twice(
    dataset: str, method: str, steps: int
) -> None:
    scheduler = _pretrain(dataset, method).scheduler
    assert scheduler.warmup_epochs * steps == pytest.approx(500, abs=0.1)
    assert scheduler.lr_decay_steps == [950, 975]
    short = _pretrain(dataset, method, "max_epochs=200")
    assert short.scheduler.lr_decay_steps == [150, 175]


@pytest.mark.parametrize(
    ("dataset", "block"),
    [
        ("cifar", {"grid_size": 2, "mask_type": "discrete"}),
        ("tiny-imagenet", {"grid_size": 4, "mask_type": "block"}),
        ("imagenet", {"grid_size": 8, "mask_type": "block"}),
    ],
)
def test_the_mask_is_the_papers_best(dataset: str, block: dict[str, Any]) -> None:
    for method in METHODS:
        assert _pretrain(dataset, f"{method}_mixmask").method_kwargs.mixmask == block


def test_cifar10_by_one_override() -> None:
    cfg = _pretrain("cifar", "simclr_mixmask", "data.dataset=cifar10")
    assert (cfg.data.num_classes, cfg.name) == (10, "simclr-mixmask-cifar10")


def test_the_readme_lists_every_file() -> None:
    table = (SCRIPTS / "README.md").read_text()
    for file in FILES:
        assert f"`{_id(file)}`" in table

# SPDX-License-Identifier: MIT
"""solo-learn's own, unmodified scripts: pretraining, probe and k-NN, and checkpoints both ways.

Needs a checkout, since the scripts are not part of the installed package: they are looked for
beside it.
"""

from __future__ import annotations

import importlib
import json
import os
import runpy
import subprocess
import sys
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from hydra import compose, initialize_config_dir
from omegaconf import OmegaConf
from PIL import Image
from tensorboard.backend.event_processing.event_accumulator import EventAccumulator

from mixmask_solo import register
from mixmask_solo.config import ConfigError
from mixmask_solo.evaluation.network import load_network
from mixmask_solo.records.pretrained import read_pretrained
from mixmask_solo.strategies import build_strategies
from support.saliency import torchvisions

pytestmark = [pytest.mark.solo, pytest.mark.filterwarnings("ignore")]

ROOT = Path(__file__).parents[2]
SMALL = "data.num_workers=0 accelerator=cpu precision=32 strategy=auto sync_batchnorm=false"
SHORT = "max_epochs=2 optimizer.batch_size=8"


@pytest.fixture(scope="session")
def checkout(solo_host) -> Path:
    """Folder of solo-learn's scripts."""
    folder = Path(importlib.import_module("solo").__file__).parents[1]
    if not (folder / "main_pretrain.py").is_file():
        pytest.skip(
            f"solo-learn is installed without its scripts: {folder} has no main_pretrain.py"
        )
    return folder


@pytest.fixture(scope="session")
def images(tmp_path_factory) -> Path:
    """Five classes of coloured noise, 32×32; its probe's top-5 accuracy fails with fewer."""
    folder = tmp_path_factory.mktemp("images")
    rng = np.random.default_rng(0)
    for split, count in (("train", 4), ("val", 2)):
        for label in range(5):
            target = folder / split / str(label)
            target.mkdir(parents=True)
            for i in range(count):
                pixels = rng.integers(0, 120, (32, 32, 3), dtype=np.uint8)
                pixels[..., label % 3] += 60 + 60 * (label // 3)
                Image.fromarray(pixels).save(target / f"{i}.png")
    return folder


def data(images: Path) -> list[str]:
    return ["data.dataset=custom", *(f"data.{s}_path={images / s}" for s in ("train", "val"))]


def script(path: Path, arguments: list[str], cwd: Path) -> subprocess.CompletedProcess[str]:
    """A script in a process of its own, where the plugin is found as an installed one is."""
    env = {**os.environ, "PYTHONPATH": os.pathsep.join([str(path.parent), str(ROOT)])}
    command = [sys.executable, "-W", "ignore", str(path), *arguments]
    return subprocess.run(command, cwd=cwd, env=env, capture_output=True, text=True, check=False)


def scalars(folder: Path) -> dict[str, float]:
    """Last values in the TensorBoard log that Lightning writes for solo-learn by itself."""
    (events,) = folder.rglob("events.out.tfevents.*")
    log = EventAccumulator(str(events))
    log.Reload()
    return {tag: log.Scalars(tag)[-1].value for tag in log.Tags()["scalars"]}


# Names of ours in the log, file, and what a tiny run needs changed.
PRETRAIN: dict[str, tuple[str, str, list[str]]] = {
    "theirs": (
        "{checkout}/scripts/pretrain/custom",
        "byol",
        [
            *("data.format=image_folder", "auto_resume.enabled=false", "wandb.enabled=false"),
            *("devices='1'", "augmentations.0.crop_size=32", "augmentations.1.crop_size=32"),
            *("++method_kwargs.mixmask.grid_size=2", "++method_kwargs.mixmask.per_sample=true"),
        ],
    ),
    "adios": (
        "{checkout}/scripts/pretrain/custom",
        "byol",
        [
            *("data.format=image_folder", "auto_resume.enabled=false", "wandb.enabled=false"),
            *("devices='1'", "augmentations.0.crop_size=32", "augmentations.1.crop_size=32"),
            *("++method_kwargs.adios.slots=2", "++method_kwargs.adios.single=true"),
        ],
    ),
    "ours": (
        f"{ROOT}/scripts/pretrain/cifar",
        "mocov2plus_mixmask",
        ["method_kwargs.queue_size=32"],
    ),
}


@pytest.fixture(scope="session")
def pretrained(checkout, images, tmp_path_factory):
    """``pretrained(kind)``: the run's folder of checkpoints and its scalars; each run once."""
    done: dict[str, tuple[Path, dict[str, float]]] = {}

    def run(kind: str) -> tuple[Path, dict[str, float]]:
        if kind not in done:
            cwd = tmp_path_factory.mktemp(kind)
            path, name, changes = PRETRAIN[kind]
            arguments = ["--config-path", path.format(checkout=checkout), "--config-name", name]
            arguments += [*data(images), *SMALL.split(), *SHORT.split(), *changes]
            result = script(checkout / "main_pretrain.py", arguments, cwd)
            assert result.returncode == 0, result.stderr[-2000:]
            (args,) = cwd.rglob("args.json")
            done[kind] = args.parent, scalars(cwd)
        return done[kind]

    return run


def test_its_main_pretrain_trains_the_occluder(pretrained) -> None:
    folder, metrics = pretrained("adios")
    (path,) = folder.glob("*-ep=1.ckpt")
    content = torch.load(path, map_location="cpu", weights_only=False)
    own = content["mixmask_solo_strategies"]["adios"]
    names = [k for k in content["state_dict"] if k.startswith("strategies.adios.occluder.")]
    assert len(own["state"]) == len(names) > 0
    assert np.isfinite(metrics["train_adios_mask_loss_epoch"])
    assert 0 < metrics["train_adios_area_min_epoch"] <= metrics["train_adios_area_max_epoch"] < 1


@pytest.mark.parametrize("kind", ["theirs", "ours"])
def test_its_main_pretrain_trains_the_mixture(pretrained, kind) -> None:
    folder, metrics = pretrained(kind)
    assert metrics["epoch"] == 1
    assert metrics["train_mixmask_loss_epoch"] == metrics["train_mixture_loss_epoch"]
    assert np.isfinite(metrics["train_mixture_loss_epoch"])
    assert 0 < metrics["train_mixmask_lam_epoch"] < 1
    (checkpoint,) = folder.glob("*-ep=1.ckpt")
    assert checkpoint.stat().st_size > 0


def test_its_main_pretrain_loads_the_crops_that_mscn_takes(checkout, images, tmp_path) -> None:
    """Its loader makes four, of which its class knows two; the third entry is ours."""
    path, name, changes = PRETRAIN["theirs"]
    arguments = ["--config-path", path.format(checkout=checkout), "--config-name", name]
    arguments += [*data(images), *SMALL.split(), *SHORT.split(), *changes[:6]]
    arguments += ["++method_kwargs.mscn.patch_size=8"]
    result = script(checkout / "main_pretrain.py", arguments, tmp_path)
    assert result.returncode == 0, result.stderr[-2000:]
    assert np.isfinite(scalars(tmp_path)["train_mscn_loss_epoch"])
    (args,) = tmp_path.rglob("args.json")
    stored = json.loads(args.read_text())
    assert [entry["num_crops"] for entry in stored["augmentations"]] == [1, 1, 1, 1]
    assert (stored["data"]["num_large_crops"], stored["data"]["num_extra_crops"]) == (2, 2)


def test_its_dali_loader_is_refused_where_it_cannot_make_them(registered, make_cfg) -> None:
    cfg = make_cfg("simclr", **{"method_kwargs.mscn": {"patch_size": 4, "kernel": 5}})
    cfg.data.format = "dali"
    with pytest.raises(
        ConfigError, match=r"^data\.format is dali: .* 2 more; set data\.format to "
    ):
        registered["simclr"](cfg)


def test_a_mistake_in_the_block_is_the_last_thing_it_says(checkout, images, tmp_path) -> None:
    path, name, changes = PRETRAIN["theirs"]
    arguments = ["--config-path", path.format(checkout=checkout), "--config-name", name]
    arguments += [*data(images), *SMALL.split(), *SHORT.split(), *changes]
    arguments += ["++method_kwargs.mixmask.grid_sise=2"]
    result = script(checkout / "main_pretrain.py", arguments, tmp_path)
    assert result.returncode == 1
    messages = [line for line in result.stderr.splitlines() if "Error:" in line]
    assert "method_kwargs.mixmask.grid_sise" in messages[-1]
    assert "grid_size" in messages[-1]
    assert not list(tmp_path.rglob("*.ckpt"))


@pytest.fixture
def registered(solo_host, monkeypatch):
    """solo-learn's registry with our classes, put back afterwards."""
    registry = importlib.import_module("solo.methods").METHODS
    monkeypatch.setattr("mixmask_solo.host.solo.REGISTRY", registry)
    before = dict(registry)
    register()
    yield registry
    registry.clear()
    registry.update(before)


RECIPES = sorted(
    file.relative_to(ROOT / "scripts/pretrain").with_suffix("").as_posix()
    for file in (ROOT / "scripts/pretrain").glob("*/*.yaml")
    if file.parent.name != "digits"  # a data set that solo-learn does not have
)


@pytest.mark.parametrize("recipe", RECIPES)
def test_it_understands_every_recipe(
    checkout, images, registered, recipe, tmp_path, monkeypatch
) -> None:
    """What its main_pretrain.py does with a configuration before it reads images."""
    folder, _, name = recipe.partition("/")
    custom = data(images) if folder == "tiny-imagenet" else []
    if name in ("mocov2_mscn", "simclr_mscn"):  # solo-learn's DALI loader makes no extra crops
        custom = ["data.format=image_folder"]
    with initialize_config_dir(str(ROOT / "scripts/pretrain" / folder), version_base="1.2"):
        cfg = compose(name, overrides=custom)
    OmegaConf.set_struct(cfg, False)
    written = cfg.optimizer.lr
    cfg = importlib.import_module("solo.args.pretrain").parse_cfg(cfg)
    images_a_step = cfg.optimizer.batch_size * cfg.num_nodes
    images_a_step *= 1 if cfg.devices == "1" else len(cfg.devices)
    assert cfg.optimizer.lr == pytest.approx(written * images_a_step / 256)
    assert isinstance(cfg.data.num_workers, int)
    if "saliency" in name:
        torchvisions(tmp_path)
        monkeypatch.setenv("TORCH_HOME", str(tmp_path))
    cfg = registered[cfg.method].add_and_assert_specific_cfg(cfg)
    words = name.removesuffix("96").replace("noise", "erase").split("_")
    known = ("unmix", "mixmask", "erase", "mscn", "saliency", "adios")
    blocks = [block for block in known if block in words]
    assert [s.name for s in build_strategies(cfg)] == blocks


def main_linear(checkout: Path, checkpoint: Path, images: Path, cwd: Path) -> Any:
    arguments = ["--config-path", f"{checkout}/scripts/linear/imagenet-100", "--config-name"]
    arguments += ["byol", *data(images), *SMALL.split(), *SHORT.split(), "devices='1'"]
    arguments += ["data.format=image_folder", "auto_resume.enabled=false", "wandb.enabled=false"]
    arguments += ["max_epochs=1", f"pretrained_feature_extractor='{checkpoint}'"]
    return script(checkout / "main_linear.py", arguments, cwd)


def test_its_main_linear_reads_the_result(pretrained, checkout, images, tmp_path) -> None:
    (checkpoint,) = pretrained("theirs")[0].glob("*.ckpt")
    result = main_linear(checkout, checkpoint, images, tmp_path)
    assert result.returncode == 0, result.stderr[-2000:]
    assert "val_acc1" in scalars(tmp_path)


def test_its_main_knn_reads_the_result(
    pretrained, checkout, images, registered, monkeypatch, capsys
) -> None:
    """``load_from_checkpoint`` of the registered class. The script insists on a GPU: not here."""
    monkeypatch.setattr(torch.Tensor, "cuda", lambda self, **_: self)
    arguments = ["main_knn.py", "--dataset", "custom", "--data_format", "image_folder"]
    for split in ("train", "val"):
        arguments += [f"--{split}_data_path", str(images / split)]
    arguments += ["--pretrained_checkpoint_dir", str(pretrained("theirs")[0])]
    arguments += ["--batch_size", "10", "--num_workers", "0", "--k", "3", "--temperature", "0.1"]
    arguments += ["--feature_type", "backbone", "projector", "--distance_function", "cosine"]
    monkeypatch.setattr(sys, "argv", arguments)
    runpy.run_path(str(checkout / "main_knn.py"), run_name="__main__")
    assert capsys.readouterr().out.count("Result: acc@1=") == 2


@pytest.mark.parametrize("kind", list(PRETRAIN))
def test_a_checkpoint_of_its_main_gives_the_same_outputs_here(pretrained, registered, kind) -> None:
    (path,) = pretrained(kind)[0].glob("*.ckpt")
    found = read_pretrained(path)
    assert found.config is not None
    cfg = OmegaConf.create(found.config)
    theirs = registered[cfg.method].load_from_checkpoint(path, strict=True, cfg=cfg).eval()
    ours = load_network(found, projector=True).eval()
    x = torch.rand(2, 3, 32, 32)
    for key in ("feats", "z"):
        torch.testing.assert_close(ours(x)[key], theirs(x)[key])


def test_a_checkpoint_of_ours_gives_the_same_outputs_there(
    checkout, images, registered, tmp_path
) -> None:
    from mixmask_solo.runs.pretrain import pretrain

    path, name, _ = PRETRAIN["theirs"]
    folder = Path(path.format(checkout=checkout))
    cfg = OmegaConf.merge(
        OmegaConf.load(folder / f"{name}.yaml"),
        {"augmentations": OmegaConf.load(folder / "augmentations" / "asymmetric.yaml")},
        OmegaConf.from_dotlist([*data(images), *SMALL.split(), "optimizer.batch_size=8"]),
        OmegaConf.from_dotlist(["max_epochs=1", "scheduler.warmup_epochs=0"]),
        OmegaConf.from_dotlist(["data.format=image_folder", "host=builtin", "devices=1"]),
        OmegaConf.from_dotlist([f"checkpoint.dir={tmp_path}", "auto_resume.enabled=false"]),
        {"method_kwargs": {"mixmask": {"grid_size": 2}}},
    )
    del cfg["defaults"], cfg["hydra"]
    for pipeline in cfg.augmentations:
        pipeline.crop_size = 32
    last = Path(pretrain(cfg)["directory"]) / "last.ckpt"

    found = read_pretrained(last)
    stored = OmegaConf.create(found.config)
    theirs = registered[stored.method].load_from_checkpoint(last, strict=True, cfg=stored).eval()
    ours = load_network(found, projector=True).eval()
    x = torch.rand(2, 3, 32, 32)
    for key in ("feats", "z"):
        torch.testing.assert_close(theirs(x)[key], ours(x)[key])
    result = main_linear(checkout, last, images, tmp_path)
    assert result.returncode == 0, result.stderr[-2000:]

# SPDX-License-Identifier: MIT
# ruff: noqa: NPY002  (it is about the global generator, which others draw from)
"""Every key that draws random numbers draws them by its place: seed, epoch, batch, rank.

``DRAWS`` lists them all. Each is shown to draw (another seed, another outcome; the same seed, the
same), and all of them together do not disturb a run that is interrupted in mid-epoch.
"""

from __future__ import annotations

import re
from collections.abc import Callable
from dataclasses import fields
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest
import torch
from omegaconf import DictConfig, OmegaConf
from PIL import Image
from torch import Tensor

from mixmask_solo.config.schema.augmentations import GlyphOptions, SoloOptions
from mixmask_solo.data import build_classification, build_pretrain
from mixmask_solo.data.tolerance import substitutes
from mixmask_solo.evaluation.features import CachedFeatures
from mixmask_solo.evaluation.probe import SoftTargets
from mixmask_solo.host.builtin import build_backbone
from mixmask_solo.methods.moco_passes import Permutations
from mixmask_solo.records.checkpoints import LAST, read_checkpoint
from mixmask_solo.runs.interrupt import Interrupted, InterruptSaver
from mixmask_solo.runs.linear import linear
from mixmask_solo.runs.pretrain import pretrain
from mixmask_solo.runs.trainer import Reseed
from mixmask_solo.strategies import Step, Views, build_strategies, kind_of

CPU = torch.device("cpu")
EDGE, IMAGES, CLASSES = 16, 48, 3
X = torch.linspace(0, 1, 8 * 3 * EDGE * EDGE).reshape(8, 3, EDGE, EDGE)
OFF = {"rrc": {"enabled": False}}
SOLO: dict[str, Any] = {
    "rrc": {"enabled": True, "crop_min_scale": 0.3},
    "color_jitter": {
        "prob": 0.8,
        "brightness": 0.4,
        "contrast": 0.4,
        "saturation": 0.2,
        "hue": 0.1,
    },
    "grayscale": {"prob": 0.3},
    "gaussian_blur": {"prob": 0.5},
    "solarization": {"prob": 0.3},
    "equalization": {"prob": 0.3},
    "horizontal_flip": {"prob": 0.5},
}
GLYPHS = {"rrc": SOLO["rrc"], "rotation": {"degrees": 30.0}, "color_jitter": SOLO["color_jitter"]}


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Coloured images of one size in three classes, and one that is damaged."""
    root: Path = tmp_path_factory.mktemp("images")
    rng = np.random.default_rng(0)
    for i in range(IMAGES):
        (root / f"{i % CLASSES}").mkdir(exist_ok=True)
        pixels = rng.integers(0, 256, (EDGE, EDGE, 3), dtype=np.uint8)
        Image.fromarray(pixels).save(root / f"{i % CLASSES}" / f"{i}.png")
    (root / "0" / "damaged.png").write_bytes(b"\x89PNG\r\n\x1a\n")
    return root


def of_folder(folder: Path, form: str, **more: Any) -> dict[str, Any]:
    paths = {"train_path": str(folder), "val_path": str(folder)}
    block = {"dataset": "custom", "format": form, "on_error": "skip", "num_workers": 0}
    return {**block, **paths, **more}


# What one key draws, with a seed, and nothing else that the seed decides.


def view(form: str, pipeline: str, steps: dict[str, Any]) -> Callable[[int, Path], Any]:
    """The same images, changed."""

    def drawn(seed: int, folder: Path) -> Any:
        entry = {"crop_size": EDGE, "num_crops": 1, "pipeline": pipeline, **OFF, **steps}
        data = build_pretrain(
            {
                "seed": seed,
                "data": of_folder(folder, form),
                "optimizer": {"batch_size": 8},
                "augmentations": [entry],
            }
        )
        made: Any = data.train_dataloader().dataset
        whole = [i for i in range(len(data.opened)) if "damaged" not in data.opened.name(i)][:24]
        if form == "resident":
            [batch] = made.together([[(0, i) for i in whole]])
            return batch[1]
        return [made[(0, i)][1] for i in whole]

    return drawn


def probe_view(form: str) -> Callable[[int, Path], Any]:
    """The same, as a probe trains on them."""

    def drawn(seed: int, folder: Path) -> Any:
        cfg = {"seed": seed, "data": of_folder(folder, form), "optimizer": {"batch_size": 8}}
        made: Any = build_classification(cfg).train_dataloader().dataset
        keys = [(0, i) for i in range(1, 9)]
        if form == "resident":
            [batch] = made.together([keys])
            return batch[0]
        return [made[key][0] for key in keys]

    return drawn


def order(seed: int, folder: Path) -> Any:
    """Which images form a batch."""
    cfg = {
        "seed": seed,
        "data": {"dataset": "digits", "num_workers": 0},
        "optimizer": {"batch_size": 8},
        "augmentations": [{"crop_size": EDGE}],
    }
    return build_pretrain(cfg).batches().order(0)


def branch(what: str, **kwargs: Any) -> Callable[[int, Path], Any]:
    """``what`` of the last strategy's mixtures in sixteen steps."""

    def drawn(seed: int, folder: Path) -> Any:
        made = [m for m in mixtures(seed, kwargs) if m]
        return [getattr(m[0].mixture, what) for m in made]

    return drawn


def steps_with(present: Callable[[Any], bool], **kwargs: Any) -> Callable[[int, Path], Any]:
    """In which of sixteen steps the last strategy's branches are of a kind."""
    return lambda seed, folder: [present(made) for made in mixtures(seed, kwargs)]


def mixtures(seed: int, kwargs: dict[str, Any]) -> list[Any]:
    cfg = {"method_kwargs": kwargs, "augmentations": [{"crop_size": EDGE}]}
    strategy = build_strategies(OmegaConf.create(cfg))[-1]
    return [strategy.branches([X, X], Step(seed, 0, b, 0, CPU)) for b in range(16)]


def erased(**block: Any) -> Callable[[int, Path], Any]:
    """What sixteen steps mask of two views of one network."""

    def drawn(seed: int, folder: Path) -> Any:
        cfg = {"method": "simclr", "method_kwargs": {"erase": block}}
        [strategy] = build_strategies(OmegaConf.create(cfg))
        views = Views((X, X), (X, X), (X, X))
        steps = [Step(seed, 0, b, 0, CPU) for b in range(16)]
        return [list(strategy.views(views, step).online) for step in steps]

    return drawn


def is_regional(made: Any) -> bool:
    """Whether the last image holds pixels of its own; none of it is the partner's there."""
    return bool((made[0].mixture.images[-1] == X[-1]).any())


def backbone(**rates: float) -> Callable[[int, Path], Any]:
    """The same network on the same images, as a run's callback leaves the generators."""

    def drawn(seed: int, folder: Path) -> Any:
        torch.manual_seed(0)
        kwargs = {"zero_init_last": False, **rates}
        cfg = {
            "backbone": {"name": "resnet10t", "kwargs": kwargs, "stem": "auto", "stem_padding": 1},
            "data": {"dataset": "custom"},
        }
        network = build_backbone(OmegaConf.create(cfg))
        trainer: Any = SimpleNamespace(current_epoch=0, global_rank=0)
        module: Any = SimpleNamespace(device=CPU)
        Reseed(seed).on_train_batch_start(trainer, module, None, 0)
        return network(torch.ones(4, 3, EDGE, EDGE))

    return drawn


def soft(**strengths: float) -> Callable[[int, Path], Any]:
    """Images and targets of a probe's batch."""

    def drawn(seed: int, folder: Path) -> Any:
        return list(soft_targets(seed, **strengths)(X.clone(), torch.arange(8)))

    return drawn


def soft_targets(seed: int, *, mixup: float = 0.0, cutmix: float = 0.0) -> SoftTargets:
    cfg = {
        "seed": seed,
        "mixup": mixup,
        "cutmix": cutmix,
        "label_smoothing": 0.0,
        "data": {"num_classes": 8, "last_batch": "drop"},
        "optimizer": {"batch_size": 8},
    }
    return SoftTargets(OmegaConf.create(cfg))


def shuffled_keys(seed: int, folder: Path) -> Any:
    return Permutations(Step(seed, 0, 0, 0, CPU)).next(16, CPU)


def cached_order(seed: int, folder: Path) -> Any:
    rows = (torch.arange(24).unsqueeze(1), torch.arange(24))
    return [labels for _, labels in CachedFeatures(rows, rows, 8, seed).train_dataloader()]


def substitute(seed: int, folder: Path) -> Any:
    return next(substitutes(10_000, 3, seed=seed, epoch=0))


DRAWS: dict[str, Callable[[int, Path], Any]] = {
    "order of the images": order,
    "data.on_error": substitute,
    **{
        f"solo.{key} ({form})": view(form, "solo", {key: block})
        for key, block in SOLO.items()
        for form in ("image_folder", "resident")
    },
    **{
        f"glyphs.{key} ({form})": view(form, "glyphs", {key: block})
        for key, block in GLYPHS.items()
        for form in ("image_folder", "resident")
    },
    **{f"probe's crop ({form})": probe_view(form) for form in ("image_folder", "resident")},
    "mixmask.mask_type: block": branch("images", mixmask={"mask_type": "block"}),
    "mixmask.mask_type: discrete": branch("images", mixmask={"mask_type": "discrete"}),
    "mixmask.ratio": branch("lam", mixmask={"grid_size": 2, "ratio": [0.2, 0.8]}),
    "mixmask.per_sample": branch("images", mixmask={"per_sample": True}),
    "mixmask.prob": steps_with(bool, mixmask={"prob": 0.5}),
    "mixmask.partner": branch("partner", mixmask={"partner": "random"}),
    "erase.mask_type: block": erased(mask_type="block"),
    "erase.mask_type: discrete": erased(mask_type="discrete"),
    "erase.ratio": erased(ratio=[0.2, 0.8]),
    "erase.per_sample": erased(per_sample=True),
    "erase.prob": erased(prob=0.5),
    "erase.fill: noise": erased(fill="noise"),
    "unmix.prob": steps_with(is_regional, unmix={"prob": 0.5}),
    "unmix.prob: 0 (its box)": branch("images", unmix={"prob": 0.0, "beta": 1e6}),
    "unmix.beta": branch("lam", unmix={"prob": 1.0}),
    "unmix.partner": branch("partner", unmix={"partner": "random"}),
    "permutations: different": branch("partner", unmix={}, mixmask={}, permutations="different"),
    "permutations: same": branch(
        "partner", unmix={"partner": "random"}, mixmask={}, permutations="same"
    ),
    "mocov2.shuffle": shuffled_keys,
    "backbone.drop_path_rate": backbone(drop_path_rate=0.5),
    "backbone.drop_rate": backbone(drop_rate=0.5),
    "probe.mixup": soft(mixup=1.0),
    "probe.cutmix": soft(cutmix=1.0),
    "probe.mixup and cutmix": soft(mixup=1.0, cutmix=1.0),
    "probe.features: cached": cached_order,
}
# Without the key the seed decides nothing: what differs above is what the key draws.
STILL: dict[str, Callable[[int, Path], Any]] = {
    "solo (image_folder)": view("image_folder", "solo", {}),
    "solo (resident)": view("resident", "solo", {}),
    "glyphs (image_folder)": view("image_folder", "glyphs", {}),
    "glyphs (resident)": view("resident", "glyphs", {}),
    "mixmask's λ": branch("lam", mixmask={"grid_size": 2, "ratio": 0.25}),
    "mixmask's partner": branch("partner", mixmask={}),
    "mixmask's steps": steps_with(bool, mixmask={}),
    "unmix's kind": steps_with(is_regional, unmix={"prob": 0.0}),
    "unmix's partner": branch("partner", unmix={}),
    "backbone": backbone(),
}
NOT_DRAWN = {
    *("crop_size", "num_crops", "mean", "std", "pipeline", "order"),  # of a pipeline
    *("grid_size", "switch", "weight", "pairing", "targets"),  # of a block
    *("noise_std", "blur_sigma", "blur_kernel", "role", "views"),
}


def equal(a: Any, b: Any) -> bool:
    if isinstance(a, Tensor):
        return torch.equal(a, b)
    if isinstance(a, (list, tuple)):
        return len(a) == len(b) and all(map(equal, a, b))
    return bool(a == b)


@pytest.mark.parametrize("key", DRAWS)
def test_a_key_draws_by_the_seed_alone(key: str, folder: Path) -> None:
    drawn = DRAWS[key]
    outcomes = []
    for other in (98, 99):
        np.random.seed(other)
        torch.manual_seed(other)
        outcomes.append(drawn(1, folder))
    first, again = outcomes
    assert equal(first, again)
    assert not equal(first, drawn(2, folder))


@pytest.mark.parametrize("key", STILL)
def test_nothing_else_differs_with_the_seed(key: str, folder: Path) -> None:
    assert equal(STILL[key](1, folder), STILL[key](2, folder))


def test_no_key_is_left_out() -> None:
    options = {"solo": SoloOptions, "glyphs": GlyphOptions}
    options |= {name: kind_of(name).options_type for name in ("unmix", "mixmask", "erase")}
    listed = {re.split("[: ]", key)[0] for key in DRAWS}
    keys = {f"{name}.{f.name}" for name, of in options.items() for f in fields(of)}
    assert {key for key in keys if key.partition(".")[2] not in NOT_DRAWN} <= listed


def test_mixing_depends_on_the_place_and_leaves_numpy_alone() -> None:
    def mixed(*place: int) -> Tensor:
        mixer = soft_targets(1, mixup=1.0, cutmix=1.0)
        mixer.place = place
        return mixer(X.clone(), torch.arange(8))[0]

    np.random.seed(7)
    expected = np.random.rand(3)
    np.random.seed(7)
    places = [(0, 0, 0), (1, 0, 0), (0, 1, 0), (0, 0, 1)]
    images = [mixed(*place) for place in places]
    assert np.array_equal(np.random.rand(3), expected)
    assert all(torch.equal(mixed(*place), x) for place, x in zip(places, images, strict=True))
    assert len({x.numpy().tobytes() for x in images}) == 4


# All of them together, in runs that are interrupted.

DROPS = {
    "name": "resnet10t",
    "kwargs": {"drop_path_rate": 0.3, "drop_rate": 0.3, "zero_init_last": False},
}
ERASED = {"grid_size": 4, "ratio": [0.3, 0.7], "per_sample": True, "prob": 0.7}
MASKS = {**ERASED, "partner": "random"}
UNMIX = {"prob": 0.5, "beta": 0.8}
MOCO = {
    "projector": "linear",
    "proj_output_dim": 16,
    "temperature": 0.1,
    "queue_size": 32,
    "symmetric": True,
    "bn_splits": 2,
}
HEADS = {"proj_hidden_dim": 32, "proj_output_dim": 16}
TOGETHER: dict[str, dict[str, Any]] = {
    "solo, image by image": {
        "method": "mocov2",
        "method_kwargs": {
            **MOCO,
            "mixmask": {"mask_type": "block", **MASKS},
            "unmix": UNMIX,
            "permutations": "different",
            "erase": {"fill": "noise", **ERASED, "targets": "masked"},
        },
        "format": "image_folder",
        "augmentations": [{"crop_size": EDGE, "num_crops": 2, **SOLO}],
    },
    "glyphs, in memory": {
        "method": "simclr",
        "method_kwargs": {
            **HEADS,
            "temperature": 0.2,
            "mixmask": {"mask_type": "discrete", **MASKS},
            "unmix": {**UNMIX, "partner": "random"},
            "permutations": "same",
            "erase": {"fill": "noise", **ERASED, "role": "branch"},
        },
        "format": "resident",
        "augmentations": [
            {"crop_size": EDGE, "num_crops": 1, **SOLO},
            {"crop_size": EDGE, "num_crops": 1, "pipeline": "glyphs", **GLYPHS},
        ],
    },
}
COMMON = {
    "optimizer": {"name": "sgd", "batch_size": 8, "lr": 0.1, "classifier_lr": 0.1},
    "scheduler": {"name": "none"},
    "max_epochs": 2,
    "accelerator": "cpu",
    "devices": 1,
    "limit_train_batches": 3,
    "limit_val_batches": 1,
}
Command = Callable[[DictConfig], dict[str, Any]]


def uninterrupted_and_resumed(
    command: Command, cfg: dict[str, Any], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> list[dict[str, Tensor]]:
    """Final weights of both; the second stopped before the second batch of an epoch."""

    def run(part: str, **more: Any) -> dict[str, Any]:
        place = {"checkpoint": {"enabled": True, "dir": str(tmp_path / part)}}
        return command(OmegaConf.create({**cfg, **place, **more}))

    def hook(self: InterruptSaver, trainer: Any, module: Any, data: Any, batch_idx: int) -> None:
        self.requested |= (trainer.current_epoch, batch_idx) == (0, 1)
        original(self, trainer, module, data, batch_idx)

    original = InterruptSaver.on_train_batch_start
    straight = run("straight")
    with monkeypatch.context() as patch:
        patch.setattr(InterruptSaver, "on_train_batch_start", hook)
        with pytest.raises(Interrupted) as stop:
            run("stopped")
    resumed = run("stopped", resume_from_checkpoint=stop.value.checkpoint)
    assert straight["steps"] == resumed["steps"] == 6
    return [read_checkpoint(Path(r["directory"]) / LAST)["state_dict"] for r in (straight, resumed)]


@pytest.mark.filterwarnings("ignore")
@pytest.mark.parametrize("name", TOGETHER)
def test_an_interrupted_pretraining_ends_as_one_that_was_not(
    name: str, folder: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    chosen = TOGETHER[name]
    cfg = {
        **COMMON,
        **{key: chosen[key] for key in ("method", "method_kwargs", "augmentations")},
        "name": "drawn",
        "host": "builtin",
        "backbone": DROPS,
        "data": of_folder(folder, chosen["format"]),
    }
    a, b = uninterrupted_and_resumed(pretrain, cfg, tmp_path, monkeypatch)
    assert a.keys() == b.keys()
    assert [key for key in a if not torch.equal(a[key], b[key])] == []


@pytest.mark.filterwarnings("ignore")
@pytest.mark.parametrize("form", ["image_folder", "resident"])
def test_an_interrupted_probe_ends_as_one_that_was_not(
    form: str, folder: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    torch.manual_seed(0)
    block = {**DROPS, "stem": "imagenet", "stem_padding": 1}
    network = build_backbone(OmegaConf.create({"backbone": block, "data": {"dataset": "custom"}}))
    weights = tmp_path / "weights.ckpt"
    torch.save(
        {"state_dict": {f"backbone.{k}": v for k, v in network.state_dict().items()}}, weights
    )
    cfg = {
        **COMMON,
        "optimizer": {"name": "sgd", "batch_size": 8, "lr": 0.1},
        "name": "drawn",
        "pretrained_feature_extractor": str(weights),
        "backbone": block,
        "data": of_folder(folder, form, augmentations={"crop_size": EDGE}),
        "finetune": True,
        "mixup": 0.8,
        "cutmix": 1.0,
        "label_smoothing": 0.1,
    }
    a, b = uninterrupted_and_resumed(linear, cfg, tmp_path, monkeypatch)
    assert a.keys() == b.keys()
    assert [key for key in a if not torch.equal(a[key], b[key])] == []

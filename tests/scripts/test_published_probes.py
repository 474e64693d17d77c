# SPDX-License-Identifier: MIT
"""The probes' resolved values against those of the code they follow, and their heads."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import pytest

from mixmask_solo.cli.compose import compose
from mixmask_solo.config import resolve_linear
from mixmask_solo.data import build_classification
from mixmask_solo.data.tasks import probe_options, resizing
from mixmask_solo.evaluation.probe import Identity
from mixmask_solo.evaluation.probe import Probe as Model
from mixmask_solo.records.pretrained import Pretrained
from mixmask_solo.tables.head import head_of
from support.parts import C100_HT, C100_SL, TINY
from support.published import IMAGES, Run, half_cosine, rates_of

LINEAR = Path(__file__).parents[2] / "scripts" / "linear"
DALI = "DALI decodes and crops instead of Pillow"


@dataclass(frozen=True)
class Probe:
    """A protocol; ``test``: shorter side before the centre crop (None for none) and kernel.

    ``differs`` holds the words for what ours does otherwise, ``ours`` the values of its fields.
    """

    optimizer: tuple[str, dict[str, Any]]
    weight_decay: float
    batch: int
    epochs: int
    features: str
    init: str
    rate: Callable[[Run], float]
    pretrained: str  # the recipe whose network it probes
    statistics: tuple[tuple[float, ...], tuple[float, ...]]
    test: tuple[int | None, str]
    train: tuple[float, str] | None = None  # smallest crop, kernel
    last_batch: str = "drop"
    precision: str = "32"
    differs: dict[str, str] = field(default_factory=dict)
    ours: dict[str, Any] = field(default_factory=dict)


def falling(lr: float) -> Callable[[Run], float]:
    return lambda r: lr * 0.1 ** ((r.epoch >= 60) + (r.epoch >= 80))


def exponential(r: Run) -> float:
    return float(1e-2 * (1e-6 / 1e-2) ** (r.epoch / r.epochs))


def of(statistics: dict[str, tuple[float, ...]]) -> tuple[tuple[float, ...], ...]:
    return statistics["mean"], statistics["std"]


HTDT = (("adam", {}), 5e-6, 1000, 500, "cached", "default", exponential)
SGD = (("sgd", {"momentum": 0.9}), 0.0, 256, 100, "augmented")
IMAGENET = ((0.485, 0.456, 0.406), (0.229, 0.224, 0.225))
NATURAL = (IMAGENET, (256, "bilinear"), (0.08, "bilinear"))
MOCO = Probe(*SGD, "normal", falling(30.0), "mocov2", *NATURAL, "keep", differs={"decoder": DALI})
PROBES = {
    "cifar/adam": Probe(
        *(*HTDT, "simclr", of(C100_HT), (None, "bicubic")),
        differs={"statistics": "solo-learn's statistics"},
        ours={"statistics": of(C100_SL)},
    ),
    "tiny-imagenet/adam": Probe(*HTDT, "byol", of(TINY), (None, "bicubic")),
    "cifar/sgd": Probe(
        *(*SGD, "default", lambda r: 30 * half_cosine(r.step / r.total)),
        *("simsiam", IMAGENET, (36, "bicubic"), (0.08, "bicubic")),
        differs={"test images": "all test images count"},
    ),
    "imagenet/moco": MOCO,
    "imagenet-100/moco": MOCO,
    "imagenet-100/sololearn": Probe(
        *(*SGD, "default", falling(1.0), "simclr", *NATURAL),
        precision="16-mixed",
        differs={"precision": "float32 instead of 16 bit"},
        ours={"precision": "32"},
    ),
}


@pytest.mark.parametrize("name", PROBES)
def test_a_probe_is_its_source_but_for_what_its_head_says(name: str, recipe: Any) -> None:
    published, (dataset, stem) = PROBES[name], name.split("/")
    given = ["pretrained_feature_extractor=last.ckpt"]
    cfg = resolve_linear(compose(str(LINEAR / dataset), stem, given), trainer_keys={"probe"})
    cfg.probe.setdefault("init", "default")
    batch = cfg.optimizer.batch_size
    per_epoch = IMAGES[dataset] // batch
    total = per_epoch * cfg.max_epochs
    points = (0, 59 * per_epoch, 60 * per_epoch, total // 2 + per_epoch // 2, total - 1)
    at = [Run(step, per_epoch, cfg.max_epochs) for step in points]
    data, size = dict(cfg.data), cfg.data.augmentations.crop_size
    views = [*map(dict, recipe(dataset, published.pretrained).augmentations)]
    view = Pretrained(Path("last.ckpt"), {"augmentations": views}, {}).view
    data |= {"format": "image_folder", "augmentations": {**view, **data["augmentations"]}}
    facts = build_classification(dict(cfg) | {"data": data}).task
    options = probe_options(facts.dataset, size)
    extra = {k: v for k, v in cfg.optimizer.kwargs.items() if v is not None}
    mine: dict[str, Any] = {
        "optimizer": (cfg.optimizer.name, extra),
        "weight_decay": cfg.optimizer.weight_decay,
        "batch": batch,
        "epochs": cfg.max_epochs,
        "features": cfg.probe.features,
        "init": cfg.probe.init,
        "statistics": (facts.still.mean, facts.still.std),
        "test": resizing(facts.dataset, size),
        "last_batch": cfg.data.last_batch,
        "precision": cfg.precision,
    }
    if published.train:
        mine["train"] = (options.rrc.crop_min_scale, options.rrc.interpolation)
    source = {key: getattr(published, key) for key in mine}
    assert mine == {**source, **published.ours}
    unequal = {key for key in mine if mine[key] != source[key]}
    assert unequal == published.differs.keys() & mine.keys()
    rates = rates_of(Model(Identity(4), cfg), at)
    assert rates == pytest.approx([published.rate(r) for r in at], rel=1e-8, abs=1e-12)


@pytest.mark.parametrize("name", PROBES)
def test_every_known_deviation_stands_in_the_probes_head(name: str) -> None:
    said = " ".join(head_of(LINEAR / f"{name}.yaml")["Differs"].split())
    wanted = PROBES[name].differs.values()
    assert not [words for words in wanted if words not in said]
    assert (said == "in nothing that the sources state") is (not wanted)


def test_all_probes_of_the_papers_are_compared() -> None:
    files = {f"{f.parent.name}/{f.stem}" for f in LINEAR.rglob("*.yaml")}
    ours = {name for name in files if name.startswith(("digits", "transfer")) or "sweep" in name}
    assert files - ours == set(PROBES)

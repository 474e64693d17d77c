# SPDX-License-Identifier: MIT
"""The recipes' resolved values against those of the papers and code bases they follow.

What differs from a source is known to ``support.sources`` and stands in the recipe's head: any
value but the source's, or the one that is announced in its place, fails here, and so does an
announcement that is not there or no longer true.
"""

from __future__ import annotations

import re
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from omegaconf import DictConfig

from mixmask_solo.cli import knn
from mixmask_solo.host.builtin.online_knn import _TEMPERATURE
from mixmask_solo.strategies import build_strategies
from mixmask_solo.tables.head import head_of
from support.published import IMAGES, Run, Source, rates_of
from support.recipes import built, drawn, views
from support.sources import SOURCES

PRETRAIN = Path(__file__).parents[2] / "scripts" / "pretrain"
VARIANTS = ("", "_unmix", "_mixmask", "_mixmask_unmix")
WORDS = {  # what every recipe with a mixture has to say about it
    "byol": ("published in words only", "pairing: pair", "view 2 passes the network once"),
    "simsiam": ("published in words only", "pairing: pair", "view 2 passes the network once"),
    "simclr": ("published in words only", "pairing: pair", "view 2 passes the backbone once"),
    "mocov2plus": ("mixtures are not solo-learn's",),
    "mocov2": (),
}


def processes(cfg: DictConfig) -> int:
    devices = cfg.devices if isinstance(cfg.devices, int) else len(cfg.devices)
    return int(devices * cfg.num_nodes)


def moments(source: Source, images: int) -> list[Run]:
    """The first step, both sides of the warm-up's end, half-way within an epoch, the last step."""
    per_epoch = images // source.batch
    total, warm = per_epoch * source.epochs, source.warmup
    middle = total // 2 + per_epoch // 2
    steps = (0, 1, warm // 2, max(warm - 1, 0), warm, middle, total - per_epoch, total - 1)
    return [Run(step, per_epoch, source.epochs) for step in steps]


def taus(model: Any, at: list[Run]) -> list[float] | None:
    if not hasattr(model, "momentum_updater"):
        return None
    found = []
    for r in at:
        model.momentum_updater.update_tau(r.step, r.total)
        found.append(model.momentum_updater.cur_tau)
    return found


def ours(cfg: DictConfig, at: list[Run], source: Source) -> dict[str, Any]:
    """The fields of ``Source`` as the recipe has them."""
    model = built(cfg)
    fixed = any(g["name"] == "predictor" and g.get("static_lr") for g in model.learnable_params)
    predictor = drawn(model.predictor) if hasattr(model, "predictor") else ""
    known = {**cfg.method_kwargs, "precision": cfg.precision, "sync_batchnorm": cfg.sync_batchnorm}
    options, zero = cfg.optimizer.kwargs, "zero_init_residual"
    stem = (cfg.backbone.stem, cfg.backbone.stem_padding)
    nearest = cfg.knn_eval
    return {
        "optimizer": (cfg.optimizer.name, {k: v for k, v in options.items() if v is not None}),
        "weight_decay": cfg.optimizer.weight_decay,
        "batch": cfg.optimizer.batch_size * processes(cfg) * cfg.accumulate_grad_batches,
        "epochs": cfg.max_epochs,
        "rate": rates_of(model, at),
        "backbone": (cfg.backbone.name, *stem, cfg.backbone.kwargs.get(zero, False)),
        "head": drawn(model.projector),
        "views": views(cfg),
        "kwargs": {key: known.get(key) for key in source.kwargs},
        "predictor": predictor + " fixed rate" * fixed,
        "tau": taus(model, at),
        "knn": source.knn
        and (nearest.get("features", "backbone"), nearest.distance_func, nearest.k, _TEMPERATURE),
    }


def values(source: Source, at: list[Run]) -> dict[str, Any]:
    """The fields of ``Source``, functions of time at those moments."""
    tau = source.tau and [source.tau(r) for r in at]
    return {**vars(source), "rate": [source.rate(r) for r in at], "tau": tau}


def alike(field: str, mine: Any, expected: Any) -> bool:
    if field not in ("rate", "tau") or None in (mine, expected):
        return bool(mine == expected)
    return bool(mine == pytest.approx(expected, rel=1e-8, abs=1e-12))


@pytest.mark.parametrize(("dataset", "method"), SOURCES)
def test_a_recipe_is_its_source_but_for_what_its_head_says(
    dataset: str, method: str, recipe: Any
) -> None:
    source = SOURCES[dataset, method]
    wanted = replace(source, **source.ours)
    at = moments(wanted, IMAGES[dataset])
    mine, expected = ours(recipe(dataset, method), at, source), values(wanted, at)
    assert not {k: (v, expected[k]) for k, v in mine.items() if not alike(k, v, expected[k])}
    published = values(source, at)
    unequal = {k for k, v in mine.items() if not alike(k, v, published[k])}
    assert unequal == source.differs.keys() & mine.keys()


@pytest.mark.parametrize("variant", VARIANTS)
@pytest.mark.parametrize(("dataset", "method"), SOURCES)
def test_every_known_deviation_stands_in_the_head(dataset: str, method: str, variant: str) -> None:
    said = " ".join(head_of(PRETRAIN / dataset / f"{method}{variant}.yaml")["Differs"].split())
    wanted = [*SOURCES[dataset, method].differs.values(), *(WORDS[method] if variant else ())]
    assert not [words for words in wanted if words not in said]
    once = "mixed images pass the network once a step"
    demo = method == "mocov2" and not dataset.startswith("imagenet")
    assert (once in said) is (demo and variant != "")
    wanted += [once] if demo and variant else []
    assert (said == "in nothing that the sources state") is (not wanted)


@pytest.mark.parametrize(("dataset", "method"), SOURCES)
def test_un_mixs_images_are_forwarded_first(dataset: str, method: str, recipe: Any) -> None:
    strategies = build_strategies(recipe(dataset, f"{method}_mixmask_unmix"))
    assert [s.name for s in strategies] == ["unmix", "mixmask"]


def test_digits_train_at_a_thousandth(recipe: Any) -> None:
    cfg = recipe("digits", "simclr")
    assert cfg.optimizer.lr == pytest.approx(1e-3)
    assert (cfg.optimizer.weight_decay, cfg.optimizer.batch_size) == (1e-4, 128)


@pytest.mark.parametrize(("dataset", "method"), [("cifar", "simclr"), ("tiny-imagenet", "byol")])
def test_htdts_decays_follow_the_length_of_training(dataset: str, method: str, recipe: Any) -> None:
    assert recipe(dataset, method, "max_epochs=200").scheduler.lr_decay_steps == [150, 175]


@pytest.mark.parametrize("source", [s for s in SOURCES.values() if s.knn], ids=lambda s: s.tag)
def test_the_sources_k_nn_is_the_command_that_the_head_names(source: Source) -> None:
    (options,) = re.findall(r"mixmask-knn ((?:--\w+ [\w.]*\w ?)+)", source.differs["knn"])
    (found,) = (
        knn._protocols(
            knn._parser().parse_args(["--pretrained_checkpoint_dir", "RUN", *options.split()])
        )
        or []
    )
    features, distance, k, temperature = source.knn or ()
    assert found[:3] == (features, distance, (k,))
    assert temperature in (None, *found.temperature)

# SPDX-License-Identifier: MIT
"""The recipes' numbers against those of the papers and code bases they follow."""

from __future__ import annotations

from typing import Any, NamedTuple

import pytest
from omegaconf import DictConfig


class Values(NamedTuple):
    """What the sources print: rate after scaling, decay, global batch, epochs, and the method's."""

    lr: float
    weight_decay: float
    batch: int
    epochs: int
    backbone: str
    kwargs: dict[str, Any]
    tau: tuple[float, float] | None = None


DEMO = {  # the Un-Mix CIFAR demo
    "projector": "linear",
    "proj_output_dim": 128,
    "temperature": 0.1,
    "queue_size": 4096,
    "symmetric": True,
    "shuffle": True,
    "bn_splits": 8,
}
MOCO = {  # facebookresearch/moco, version 2
    "projector": "mlp",
    "proj_hidden_dim": 2048,
    "proj_output_dim": 128,
    "temperature": 0.2,
    "queue_size": 65_536,
    "symmetric": False,
    "shuffle": True,
    "bn_splits": 1,
}
PLUS = {"proj_hidden_dim": 2048, "proj_output_dim": 256, "temperature": 0.2}
SMALL_PLUS = {**PLUS, "queue_size": 32_768}
LARGE_PLUS = {**PLUS, "queue_size": 65_536}
HUA = {
    "head": "patrickhua",
    "proj_hidden_dim": 2048,
    "proj_output_dim": 2048,
    "pred_hidden_dim": 512,
}
SIMSIAM = {**HUA, "head": "solo"}


def htdt_simclr(embedding: int) -> dict[str, Any]:
    sizes = {"proj_hidden_dim": 1024, "proj_output_dim": embedding}
    return {"head": "htdt", **sizes, "temperature": 0.5}


def byol(hidden: int, embedding: int, predictor: int) -> dict[str, Any]:
    sizes = {"proj_hidden_dim": hidden, "proj_output_dim": embedding}
    return {**sizes, "pred_hidden_dim": predictor}


def simclr(hidden: int, embedding: int, temperature: float) -> dict[str, Any]:
    sizes = {"proj_hidden_dim": hidden, "proj_output_dim": embedding}
    return {"head": "solo", **sizes, "temperature": temperature}


RISING, SLOW, NINE = (0.99, 1.0), (0.99, 0.999), (0.999, 0.999)
TABLE = {
    ("cifar", "mocov2"): Values(0.06, 5e-4, 512, 1000, "resnet18", DEMO, (0.99, 0.99)),
    ("cifar", "mocov2plus"): Values(0.3, 1e-4, 256, 1000, "resnet18", SMALL_PLUS, SLOW),
    ("cifar", "simclr"): Values(3e-3, 1e-6, 512, 1000, "resnet18", htdt_simclr(64)),
    ("cifar", "byol"): Values(3e-3, 1e-6, 512, 1000, "resnet18", byol(1024, 64, 1024), RISING),
    ("cifar", "simsiam"): Values(0.06, 5e-4, 512, 1000, "resnet18", HUA),
    ("tiny-imagenet", "mocov2"): Values(0.06, 5e-4, 512, 1000, "resnet18", DEMO, (0.99, 0.99)),
    ("tiny-imagenet", "mocov2plus"): Values(0.3, 1e-4, 256, 1000, "resnet18", SMALL_PLUS, SLOW),
    ("tiny-imagenet", "simclr"): Values(2e-3, 1e-6, 512, 1000, "resnet18", htdt_simclr(128)),
    ("tiny-imagenet", "byol"): Values(
        2e-3, 1e-6, 512, 1000, "resnet18", byol(1024, 128, 1024), RISING
    ),
    ("tiny-imagenet", "simsiam"): Values(0.06, 5e-4, 512, 1000, "resnet18", HUA),
    ("imagenet", "mocov2"): Values(0.03, 1e-4, 256, 200, "resnet50", MOCO, NINE),
    ("imagenet", "mocov2plus"): Values(0.15, 3e-5, 128, 400, "resnet50", LARGE_PLUS, SLOW),
    ("imagenet", "simclr"): Values(4.8, 1e-6, 4096, 100, "resnet50", simclr(2048, 128, 0.1)),
    ("imagenet", "byol"): Values(0.45, 1e-6, 256, 100, "resnet50", byol(4096, 256, 4096), RISING),
    ("imagenet", "simsiam"): Values(0.1, 1e-4, 512, 100, "resnet50", SIMSIAM),
    ("imagenet-100", "mocov2"): Values(0.015, 1e-4, 128, 200, "resnet50", MOCO, NINE),
    ("imagenet-100", "mocov2plus"): Values(0.3, 1e-4, 256, 400, "resnet18", LARGE_PLUS, SLOW),
    ("imagenet-100", "simclr"): Values(0.3, 1e-4, 256, 400, "resnet18", simclr(4096, 512, 0.2)),
    ("imagenet-100", "byol"): Values(
        0.5, 1e-6, 256, 400, "resnet18", byol(4096, 256, 8192), RISING
    ),
    ("imagenet-100", "simsiam"): Values(0.5, 1e-5, 256, 400, "resnet18", SIMSIAM),
}


def processes(cfg: DictConfig) -> int:
    devices = cfg.devices if isinstance(cfg.devices, int) else len(cfg.devices)
    return int(devices * cfg.num_nodes)


@pytest.mark.parametrize(("dataset", "method"), TABLE)
def test_a_recipe_has_the_published_values(dataset: str, method: str, recipe: Any) -> None:
    values, cfg = TABLE[dataset, method], recipe(dataset, method)
    assert cfg.optimizer.lr == pytest.approx(values.lr)
    assert cfg.optimizer.weight_decay == pytest.approx(values.weight_decay)
    assert cfg.optimizer.batch_size * processes(cfg) == values.batch
    assert (cfg.max_epochs, cfg.backbone.name) == (values.epochs, values.backbone)
    assert cfg.method_kwargs == values.kwargs
    momentum = cfg.get("momentum")
    assert (momentum and (momentum.base_tau, momentum.final_tau)) == values.tau


def test_digits_train_at_a_thousandth(recipe: Any) -> None:
    cfg = recipe("digits", "simclr")
    assert cfg.optimizer.lr == pytest.approx(1e-3)
    assert (cfg.optimizer.weight_decay, cfg.optimizer.batch_size) == (1e-4, 128)


def test_byol_on_imagenet_reaches_its_batch_by_accumulation(recipe: Any) -> None:
    cfg = recipe("imagenet", "byol")
    assert cfg.optimizer.batch_size * processes(cfg) * cfg.accumulate_grad_batches == 4096
    # the host multiplies by the number of accumulated batches
    assert cfg.optimizer.lr * cfg.accumulate_grad_batches == pytest.approx(0.45 * 4096 / 256)


@pytest.mark.parametrize(
    ("dataset", "method", "steps"), [("cifar", "simclr", 97), ("tiny-imagenet", "byol", 195)]
)
def test_htdt_warms_up_for_500_steps_and_decays_twice(
    dataset: str, method: str, steps: int, recipe: Any
) -> None:
    scheduler = recipe(dataset, method).scheduler
    assert scheduler.warmup_epochs * steps == pytest.approx(500, abs=0.1)
    assert scheduler.lr_decay_steps == [950, 975]
    short = recipe(dataset, method, "max_epochs=200")
    assert short.scheduler.lr_decay_steps == [150, 175]


def test_moco_shuffles_where_the_others_synchronise(recipe: Any) -> None:
    for dataset in ("imagenet", "imagenet-100"):
        for method in ("mocov2", "mocov2plus", "byol", "simclr", "simsiam"):
            assert recipe(dataset, method).sync_batchnorm is (method != "mocov2")


@pytest.mark.parametrize("dataset", ["cifar", "tiny-imagenet"])
def test_moco_on_small_images_is_measured_on_its_heads_output(dataset: str, recipe: Any) -> None:
    knn = recipe(dataset, "mocov2").knn_eval
    assert (knn.enabled, knn.k, knn.features, knn.distance_func) == (
        True,
        200,
        "projector",
        "cosine",
    )


@pytest.mark.parametrize(
    ("dataset", "method", "stem", "crop", "grey", "blur", "order"),
    [
        ("cifar", "mocov2", ("cifar", 1), (0.08, "bilinear"), 0.2, 0.0, None),
        ("cifar", "simclr", ("cifar", 1), (0.2, None), 0.1, 0.0, "colour_first"),
        ("cifar", "byol", ("cifar", 1), (0.2, None), 0.1, 0.0, "colour_first"),
        ("cifar", "simsiam", ("cifar", 1), (0.2, "bilinear"), 0.2, 0.0, None),
        ("cifar", "mocov2plus", ("auto", 2), (0.08, None), 0.2, 0.5, None),
        ("tiny-imagenet", "byol", ("cifar_pool", 1), (0.2, None), 0.1, 0.0, "colour_first"),
        ("tiny-imagenet", "simclr", ("cifar_pool", 1), (0.2, None), 0.1, 0.0, "colour_first"),
        ("imagenet", "mocov2", ("imagenet", 2), (0.2, "bilinear"), 0.2, 0.5, None),
        ("imagenet-100", "mocov2", ("imagenet", 2), (0.2, "bilinear"), 0.2, 0.5, None),
    ],
)
def test_stem_and_views_are_the_sources(
    dataset: str,
    method: str,
    stem: tuple[str, int],
    crop: tuple[float, str | None],
    grey: float,
    blur: float,
    order: str | None,
    recipe: Any,
) -> None:
    cfg = recipe(dataset, method)
    (view,) = cfg.augmentations
    assert (cfg.backbone.stem, cfg.backbone.stem_padding) == stem
    assert (view.rrc.crop_min_scale, view.rrc.get("interpolation")) == crop
    assert (view.grayscale.prob, view.gaussian_blur.prob, view.get("order")) == (grey, blur, order)
    jitter = view.color_jitter
    strengths = (jitter.prob, jitter.brightness, jitter.contrast, jitter.saturation, jitter.hue)
    assert strengths == (0.8, 0.4, 0.4, 0.4, 0.1)


def test_statistics_of_the_demo_and_of_patrickhua_hold_on_cifar100(recipe: Any) -> None:
    moco, simsiam, byol = (
        recipe("cifar", m).augmentations[0] for m in ("mocov2", "simsiam", "byol")
    )
    assert (moco["mean"], moco["std"]) == ([0.4914, 0.4822, 0.4465], [0.2023, 0.1994, 0.2010])
    assert (simsiam["mean"], simsiam["std"]) == ([0.485, 0.456, 0.406], [0.229, 0.224, 0.225])
    assert "mean" not in byol

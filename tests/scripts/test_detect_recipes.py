# SPDX-License-Identifier: MIT
"""Detection recipes compose, and have the values of the papers' Detectron2 files."""

from __future__ import annotations

from pathlib import Path

import pytest
from omegaconf import DictConfig, OmegaConf

from mixmask_solo.cli.compose import compose
from mixmask_solo.config import resolve_detect
from mixmask_solo.runs.trainer import trainer_keys
from mixmask_solo.tables.head import head_of

SCRIPTS = Path(__file__).parents[2] / "scripts" / "detect"
FILES = sorted(SCRIPTS.glob("*/*.yaml"))


def _resolved(file: Path, *overrides: str) -> DictConfig:
    given = ["pretrained_feature_extractor=last.ckpt", *overrides]
    cfg = compose(str(file.parent), file.stem, given)
    return resolve_detect(cfg, trainer_keys=trainer_keys(), visible=8)


@pytest.mark.parametrize("file", FILES, ids=lambda f: f"{f.parent.name}/{f.stem}")
def test_a_recipe_and_its_laptop_line_validate(file: Path) -> None:
    cfg = _resolved(file)
    assert cfg.detector.name == file.stem
    assert cfg.data.dataset == file.parent.name
    assert cfg.max_epochs * cfg.eval_every == cfg.max_steps
    assert max(cfg.scheduler.milestones) < cfg.max_steps
    words = [word for word in head_of(file).get("Laptop", "").split() if "=" in word]
    short = _resolved(file, *words)
    if words:
        assert (short.max_steps, short.accelerator) == (4, "cpu")


@pytest.mark.parametrize("name", ["voc/c4", "coco/c4", "coco/fpn"])
def test_the_line_of_the_head_has_sixteen_images_a_step(name: str) -> None:
    file = SCRIPTS / f"{name}.yaml"
    line, fewer = head_of(file)["Run"].split("on fewer GPUs: ")
    given = [word for word in line.split() if word.startswith("devices=")]
    assert _images_of_a_step(_resolved(file, *given)) == 16
    assert fewer.split()[0] == "accumulate_grad_batches=8"
    assert _images_of_a_step(_resolved(file, "devices=1", "accumulate_grad_batches=8")) == 16


def _images_of_a_step(cfg: DictConfig) -> int:
    """As its learning rate, which nothing scales, is of."""
    devices = len(cfg.devices) if OmegaConf.is_list(cfg.devices) else int(cfg.devices)
    return int(cfg.optimizer.batch_size) * devices * int(cfg.accumulate_grad_batches)


@pytest.mark.parametrize(
    ("name", "steps", "milestones", "warmup", "short", "mask"),
    [
        ("voc", 24_000, [18_000, 22_000], 100, range(480, 801, 32), False),
        ("coco", 90_000, [60_000, 80_000], 1000, range(640, 801, 32), True),
    ],
)
def test_r50_c4_is_as_the_papers_files_have_it(
    name: str, steps: int, milestones: list[int], warmup: int, short: range, mask: bool
) -> None:
    cfg = _resolved(SCRIPTS / name / "c4.yaml", "devices=8")
    assert (cfg.max_steps, [*cfg.scheduler.milestones]) == (steps, milestones)
    assert (cfg.scheduler.warmup_steps, cfg.scheduler.warmup_factor) == (warmup, 0.001)
    assert [*cfg.data.short_side] == [*short]
    assert (cfg.data.short_side_test, cfg.data.max_size, cfg.data.flip) == (800, 1333, 0.5)
    optimizer = cfg.optimizer
    assert optimizer.batch_size * 8 * cfg.accumulate_grad_batches == 16
    assert (optimizer.lr, optimizer.weight_decay, optimizer.weight_decay_norm) == (0.02, 1e-4, 0)
    detector = cfg.detector
    proposals = ("pre_nms_train", "pre_nms_test", "post_nms_train", "post_nms_test")
    assert [detector[key] for key in proposals] == [12000, 6000, 2000, 1000]
    assert (detector.rois_per_image, detector.positive_fraction, detector.pool) == (512, 0.25, 14)
    assert (detector.score_threshold, detector.nms) == (0.05, 0.5)
    assert (detector.detections_per_image, detector.mask) == (100, mask)
    assert [*detector.anchor_sizes] == [32, 64, 128, 256, 512]
    assert (cfg.sync_batchnorm, cfg.precise_bn) == (True, 200)

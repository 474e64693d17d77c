# SPDX-License-Identifier: MIT
"""Detection runs of four steps: their record, their schedule, and how they go on."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any
from unittest.mock import Mock

import pytest
import torch
from omegaconf import DictConfig, OmegaConf

from mixmask_solo.config import ConfigError
from mixmask_solo.evaluation.detection.training import WarmupSteps
from mixmask_solo.records.checkpoints import read_checkpoint
from mixmask_solo.runs.detect import detect, resolve
from mixmask_solo.runs.interrupt import Interrupted
from mixmask_solo.runs.readback import NonFiniteLoss
from mixmask_solo.runs.result_file import ResultFile
from support.detection import coco_file, detection_config, small_voc
from support.runs import result, rows
from support.tiny import interrupt_at

pytest.importorskip("pycocotools")


@pytest.fixture(scope="module")
def voc(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Any]:
    """The block ``data`` of a tiny tree."""
    root = str(small_voc(tmp_path_factory.mktemp("voc")))
    sets = {"train_sets": ["train"], "val_sets": ["val"]}
    return {"format": "voc", "train_path": [root], "val_path": root, **sets}


@pytest.fixture(scope="module")
def whole(voc: dict[str, Any], tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The folder of a run that nothing disturbed."""
    done = detect(detection_config(tmp_path_factory.mktemp("whole"), voc))
    assert done["status"] == "completed"
    return Path(done["directory"])


def _weights(folder: Path) -> dict[str, torch.Tensor]:
    state: dict[str, torch.Tensor] = read_checkpoint(folder / "last.ckpt")["state_dict"]
    return state


def _resumed(cfg: DictConfig, checkpoint: str) -> dict[str, Any]:
    more = OmegaConf.create({"resume_from_checkpoint": checkpoint})
    return detect(OmegaConf.merge(cfg, more))  # type: ignore[arg-type]


def test_the_schedule_is_detectron2_s() -> None:
    """Warm-up from a thousandth, at step w of 100 by w/100; a tenth from each milestone on."""
    schedule = WarmupSteps(warmup=100, factor=0.001, milestones=(18000, 22000), gamma=0.1)
    rates = {0: 2e-5, 50: 0.01001, 100: 0.02, 17999: 0.02, 18000: 0.002, 22000: 0.0002}
    for step, rate in rates.items():
        assert schedule.lr(0.02, step) == pytest.approx(rate, rel=1e-9)


def test_the_record_says_what_happened(whole: Path) -> None:
    told = result(whole)
    assert (told["steps"], told["epochs"], told["start"]) == (4, 2, "random")
    assert told["config"]["max_epochs"] == 2
    assert not any(count for split in told["faults"].values() for count in split.values())
    assert told["metrics"]["val_images"] == told["data"]["val"]["images"] == 3
    assert told["learning_rates"] == {"weights": 0.01, "norms": 0.01}  # nothing scales it
    wanted = {"val_box_ap", "val_box_ap50", "val_voc_ap", "val_voc_ap75", "train_rpn_box_loss"}
    assert wanted <= told["metrics"].keys()
    assert told["data"]["train"]["images"] == 3
    shown = json.loads((whole / "detections.json").read_text())
    assert [len(one["truth"]) for one in shown["images"]] == [2, 1]
    rates = read_checkpoint(whole / "last.ckpt")["lr_schedulers"][0]["_last_lr"]
    assert rates == pytest.approx([0.001] * 2)  # behind the milestone
    decays = [g["weight_decay"] for g in read_checkpoint(whole / "last.ckpt")["optimizer_states"][0]
              ["param_groups"]]  # fmt: skip
    assert decays == [1e-4, 0.0]
    assert len({row["step"] for row in rows(whole)}) >= 2


@pytest.mark.parametrize("batch", [1, 0], ids=["within a round", "between rounds"])
def test_an_interrupted_run_goes_on_bit_for_bit(
    voc: dict[str, Any], whole: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, batch: int
) -> None:
    cfg = detection_config(tmp_path, voc)
    with monkeypatch.context() as patch:
        interrupt_at(patch, 1, batch)
        with pytest.raises(Interrupted) as stop:
            detect(cfg)
    assert stop.value.checkpoint is not None
    done = _resumed(cfg, stop.value.checkpoint)
    assert done["steps"] == 4
    left, right = _weights(whole), _weights(Path(done["directory"]))
    assert left.keys() == right.keys()
    assert all(torch.equal(left[k], right[k]) for k in left)
    assert _resumed(cfg, f"{done['directory']}/last.ckpt")["already"]


def test_a_run_killed_behind_its_last_checkpoint_has_its_detections(
    whole: Path, voc: dict[str, Any], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Nothing is left to train then, and nothing to measure."""
    cfg = detection_config(tmp_path, voc)
    with monkeypatch.context() as killed:
        killed.setattr(ResultFile, "finish", Mock(side_effect=KeyboardInterrupt))
        with pytest.raises(KeyboardInterrupt):
            detect(cfg)
    [folder] = (tmp_path / "detect").iterdir()
    assert json.loads((folder / "result.json").read_text())["status"] == "running"
    assert (folder / "detections.json").read_text() == (whole / "detections.json").read_text()
    done = _resumed(cfg, str(folder / "last.ckpt"))
    assert (done["status"], done["directory"]) == ("completed", str(folder))
    assert json.loads((folder / "detections.json").read_text())["step"] == 4


def test_a_process_without_an_image_to_measure_is_refused(
    voc: dict[str, Any], tmp_path: Path
) -> None:
    more = {"accelerator": "cpu", "devices": 4, "strategy": "ddp", "sync_batchnorm": False}
    with pytest.raises(ConfigError, match="val_path has 3 images for 4 processes"):
        detect(detection_config(tmp_path, voc, **more))


def test_a_loss_that_is_not_finite_names_keys_that_a_detector_has(
    voc: dict[str, Any], tmp_path: Path
) -> None:
    cfg = detection_config(tmp_path, voc, optimizer={"lr": 1e30})
    with pytest.raises(NonFiniteLoss, match=r"in round 1, batch 2 .* scheduler\.warmup_steps or"):
        detect(cfg)


def test_accumulation_keeps_steps_schedule_and_images(
    voc: dict[str, Any], whole: Path, tmp_path: Path
) -> None:
    """Two batches of one image a step are as many steps at the same rates, on the same images."""
    cfg = detection_config(tmp_path, voc, optimizer={"batch_size": 1}, accumulate_grad_batches=2)
    done = detect(cfg)
    one, two = result(whole), result(Path(done["directory"]))
    assert two["steps"] == one["steps"] == 4
    assert two["epochs"] == 2
    assert sum(p["images"] for p in two["pieces"]) == sum(p["images"] for p in one["pieces"]) == 8
    rates = [read_checkpoint(Path(x) / "last.ckpt")["lr_schedulers"][0]["_last_lr"]
             for x in (whole, done["directory"])]  # fmt: skip
    assert rates[0] == rates[1]


def test_masks_of_coco_and_a_pyramid(tmp_path: Path) -> None:
    file = coco_file(tmp_path)
    data = {"format": "coco"}
    for split in ("train", "val"):
        data |= {f"{split}_path": str(file), f"{split}_images": str(tmp_path)}
    detector = {"mask": True, "name": "fpn", "anchor_sizes": [8, 16, 32, 64, 128]}
    cfg = detection_config(tmp_path, data, detector=detector, max_steps=2, eval_every=2)
    done = detect(cfg)
    assert {"val_mask_ap", "val_mask_ap75", "train_mask_loss"} <= done["metrics"].keys()
    assert "val_voc_ap" not in done["metrics"]


def test_learning_lowers_the_loss(tmp_path: Path) -> None:
    """Nine steps on four images of a box and a bar with masks: means of three steps each."""
    file = coco_file(tmp_path)
    data: dict[str, Any] = {"format": "coco", "short_side": [64], "flip": 0.0}
    for split in ("train", "val"):
        data |= {f"{split}_path": str(file), f"{split}_images": str(tmp_path)}
    more = {"max_steps": 9, "eval_every": 3, "precise_bn": 0, "pictures": 0}
    schedule = {"milestones": [], "warmup_steps": 2}
    cfg = detection_config(tmp_path, data, detector={"mask": True}, scheduler=schedule, **more)
    folder = Path(detect(cfg)["directory"])
    for name, most in (("train_loss", 0.85), ("train_mask_loss", 0.8)):
        means = [float(row[f"{name}_epoch"]) for row in rows(folder) if row.get(f"{name}_epoch")]
        assert len(means) >= 3
        assert means[-1] < most * means[0]


@pytest.mark.parametrize(
    ("more", "said"),
    [
        ({"eval_every": 3}, "eval_every is 3: it must divide max_steps (4)"),
        ({"backbone": None}, "backbone.name is missing"),
        ({"max_epochs": 3}, "unknown key max_epochs"),
        ({"limit_train_batches": 3}, "a detection run is as long as max_steps says"),
        ({"detector": {"name": "fpn"}}, "fpn has 5 levels; give 5 sizes"),
        ({"data": {"format": "coco"}}, "data.train_images is missing"),
        ({"data": {"max_size": 50}}, "data.max_size is 50"),
        ({"performance": {"compile": True}}, "performance.compile is true"),
        ({"backbone": {"name": "resnet18x"}}, "backbone.name is 'resnet18x'"),
        ({"backbone": {"name": "mobilenetv3_small_050"}}, "takes ResNets apart"),
        ({"detector": {"mask": True}}, "detector.mask is true and data.format is voc"),
        ({"data": {"classes": ["cat"]}}, "object of class 'dog'"),
        ({"data": {"train_sets": ["trian"]}}, "no set 'trian' (did you mean train?)"),
        ({"pretrained_feature_extractor": "none.ckpt"}, "pretrained_feature_extractor: "),
    ],
)
def test_wrong_input_is_one_line(
    voc: dict[str, Any], tmp_path: Path, more: dict[str, Any], said: str
) -> None:
    data = {**voc, **more.get("data", {})}
    rest = {key: value for key, value in more.items() if key != "data"}
    cfg = detection_config(tmp_path, data, **rest)
    with pytest.raises(ConfigError) as error:
        detect(cfg)
    assert said in str(error.value)
    assert not (tmp_path / "detect").exists()


def test_statistics_are_those_of_the_pretraining(voc: dict[str, Any], tmp_path: Path) -> None:
    from mixmask_solo.config.datasets import DATASETS, IMAGENET_MEAN
    from mixmask_solo.runs.pretrain import pretrain
    from support.tiny import config

    random, _ = resolve(detection_config(tmp_path, voc))
    assert [*random.data.mean] == [*IMAGENET_MEAN]
    short = {"max_epochs": 1, "limit_train_batches": 1, "scheduler": {"warmup_epochs": 0}}
    folder = pretrain(config(tmp_path, **short))["directory"]
    cfg = detection_config(tmp_path, voc, pretrained_feature_extractor=folder, backbone=None)
    resolved, pretrained = resolve(cfg)
    assert pretrained is not None
    assert [*resolved.data.mean] == [*DATASETS["digits"].mean]
    assert resolved.backbone.name == "resnet10t"

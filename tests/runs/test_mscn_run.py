# SPDX-License-Identifier: MIT
"""Runs with MSCN: crops of its own from the loader, the filter in evaluation, resumed exactly."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest
import torch
from omegaconf import DictConfig

from mixmask_solo.data import build_pretrain
from mixmask_solo.data.tasks import pretraining
from mixmask_solo.evaluation.run_knn import evaluate_knn
from mixmask_solo.fills import high_pass
from mixmask_solo.records.checkpoints import LAST
from mixmask_solo.runs.pretrain import completed, pretrain, resolve
from mixmask_solo.strategies import mscn
from support.checkpoint import load_pretrained
from support.tiny import config, interrupted, weights

BLOCKS: dict[str, Any] = {"mixmask": None, "mscn": {"patch_size": 8, "kernel": 5}}
SHORT: dict[str, Any] = {
    **{"method_kwargs": BLOCKS, "max_epochs": 2, "limit_train_batches": 2},
    **{"limit_val_batches": 0, "optimizer": {"batch_size": 8}},
}


@pytest.mark.parametrize("method", ["byol", "simclr"])
def test_interrupted_and_resumed_equals_uninterrupted(
    method: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    straight = pretrain(config(tmp_path / "a", method, **SHORT))
    saved = interrupted(monkeypatch, config(tmp_path / "b", method, **SHORT))
    more = {**SHORT, "resume_from_checkpoint": str(saved)}
    resumed = pretrain(config(tmp_path / "b", method, **more))
    folder = Path(straight["directory"])
    a, b = weights(folder / LAST), weights(Path(resumed["directory"]) / LAST)
    assert a.keys() == b.keys()
    assert not [name for name in a if not torch.equal(a[name], b[name])]
    assert straight["metrics"]["train_mscn_loss"] == resumed["metrics"]["train_mscn_loss"]
    stored = json.loads((folder / "args.json").read_text())
    assert stored["augmentations"][0]["num_crops"] == 2
    assert stored["data"]["num_large_crops"] == stored["data"]["num_extra_crops"] == 2
    assert stored["method_kwargs"]["mscn"]["mask_ratio"] == 0.15
    assert completed(stored)["method_kwargs"] == stored["method_kwargs"]

    if method == "byol":  # what `mixmask-knn` and each probe begin with
        seen: list[int] = []
        monkeypatch.setattr(
            mscn, "high_pass", lambda x, **o: seen.append(len(x)) or high_pass(x, **o)
        )
        found = evaluate_knn(folder, device="cpu")
        assert sum(seen) == found["train_images"] + found["test_images"]
        assert found["input_filters"] == ["mscn"]
        backbone, x = load_pretrained(folder).eval(), torch.rand(2, 3, 32, 32)
        filtered = backbone(x)
        backbone._forward_pre_hooks.clear()
        torch.testing.assert_close(filtered, backbone(high_pass(x, sigma=5.0, kernel=5)))


def resolved(folder: Path, block: Any, **more: Any) -> DictConfig:
    return resolve(config(folder, "byol", method_kwargs={"mixmask": None, "mscn": block}, **more))


@pytest.mark.parametrize("decoder", ["image_folder", "resident"])
def test_the_loader_adds_crops_and_leaves_the_methods_as_they_are(
    decoder: str, tmp_path: Path
) -> None:
    batches = []
    for block in (None, BLOCKS["mscn"]):
        images = build_pretrain(resolved(tmp_path, block, data={"format": decoder}))
        images.prepare_data()
        batches.append(next(iter(images.train_dataloader())))
    (indexes, two, labels), (again, four, same) = batches
    assert (len(two), len(four)) == (2, 4)
    assert torch.equal(indexes, again)
    assert torch.equal(labels, same)
    assert all(torch.equal(a, b) for a, b in zip(two, four, strict=False))
    assert all(view.shape == two[0].shape for view in four)
    assert not any(torch.equal(a, b) for i, a in enumerate(four) for b in four[:i])


def test_extra_crops_are_augmented_as_the_large_ones_in_turn(tmp_path: Path) -> None:
    entries = [
        {"crop_size": 32, "num_crops": 1, "gaussian_blur": {"prob": 1.0}},
        {"crop_size": 16, "num_crops": 3},
        {"crop_size": 32, "num_crops": 1, "gaussian_blur": {"prob": 0.1}},
    ]
    block = {**BLOCKS["mscn"], "extra_views": 3}
    task = pretraining(resolved(tmp_path, block, augmentations=entries))
    sizes = [(p.crop_size, p.num_crops) for p in task.pipelines]
    assert sizes == [(32, 1), (16, 3), (32, 1), (32, 1), (32, 1), (32, 1)]
    assert [p.key for p in task.pipelines[3:]] == [f"augmentations[{i}]" for i in (0, 2, 0)]


@pytest.mark.parametrize("block", [None, {"extra_views": 0}, {"same_view": True}])
def test_nobody_asks_for_crops_that_are_not_used(block: Any, tmp_path: Path) -> None:
    cfg = resolved(tmp_path, block and {**BLOCKS["mscn"], **block})
    assert "num_extra_crops" not in cfg.data
    assert sum(p.num_crops for p in pretraining(cfg).pipelines) == 2

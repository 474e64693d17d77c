# SPDX-License-Identifier: MIT
"""Each method with each strategy, two training steps of its recipe on a folder of images."""

from __future__ import annotations

import math
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from PIL import Image

from mixmask_solo.cli.compose import compose
from mixmask_solo.runs import pretrain as runs
from support.methods import NARROW_WORDS

CIFAR = Path(__file__).parents[2] / "scripts" / "pretrain" / "cifar"
METHODS = ("mocov2", "mocov2plus", "byol", "simclr", "simsiam")
VARIANTS = ("", "_unmix", "_mixmask", "_mixmask_unmix", "_erase", "_noise")


@pytest.fixture(scope="module")
def images(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Two classes of eight noisy 32x32 images."""
    root = tmp_path_factory.mktemp("images")
    rng = np.random.default_rng(0)
    for name in ("cat", "dog"):
        (root / name).mkdir()
        for i in range(8):
            pixels = rng.integers(0, 256, (32, 32, 3), dtype=np.uint8)
            Image.fromarray(pixels).save(root / name / f"{i}.png")
    return root


@pytest.mark.parametrize("variant", VARIANTS)
@pytest.mark.parametrize("method", METHODS)
def test_two_steps_move_the_weights(
    method: str, variant: str, images: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    changes = [
        *("data.dataset=image_folder", f"data.train_path={images}", "data.val_path=null"),
        *("data.num_workers=0", "backbone.name=resnet10t", "++backbone.stem=auto"),
        *NARROW_WORDS,
        *("optimizer.batch_size=8", "max_epochs=1", "limit_train_batches=2"),
        *("accelerator=cpu", "precision=32", "knn_eval.enabled=false"),
        *("checkpoint.enabled=false", f"checkpoint.dir={tmp_path}"),
        *(["method_kwargs.bn_splits=4", "scheduler.name=cosine"] if method == "mocov2" else []),
        *([] if method == "mocov2" else ["scheduler.warmup_epochs=0"]),
    ]
    models: list[torch.nn.Module] = []
    before: list[dict[str, torch.Tensor]] = []
    judge = runs._judge_bank

    def watched(model: Any, *rest: Any) -> None:
        models.append(model)
        before.append({k: v.detach().clone() for k, v in model.named_parameters()})
        judge(model, *rest)

    monkeypatch.setattr(runs, "_judge_bank", watched)
    result = runs.pretrain(compose(str(CIFAR), method + variant, changes))
    assert (result["status"], result["steps"]) == ("completed", 2)
    metrics = result["metrics"]
    branches = set(variant.strip("_").split("_")) & {"mixmask", "unmix"}
    assert {b for b in ("mixmask", "unmix") if f"train_{b}_loss" in metrics} == branches
    assert all(math.isfinite(value) for value in metrics.values())
    trained = {k: v for k, v in models[0].named_parameters() if v.requires_grad}
    assert any(k.startswith("backbone.") for k in trained)
    still = [k for k, v in trained.items() if torch.equal(v, before[0][k])]
    assert not [k for k in still if "weight" in k]

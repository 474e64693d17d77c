# SPDX-License-Identifier: MIT
"""What a detector's validation hands on: in the order of one process, on no device of its own."""

from __future__ import annotations

from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest
from omegaconf import OmegaConf
from torch import nn

from mixmask_solo.config import ConfigError
from mixmask_solo.evaluation.detection import training
from mixmask_solo.evaluation.detection.predictions import Prediction
from mixmask_solo.evaluation.detection.training import Detection

pytest.importorskip("pycocotools")


def _found(image: int) -> Prediction:
    return Prediction(image, np.zeros((0, 4)), np.zeros(0), np.zeros(0, np.int64), None)


def _detection(kept: list[Any]) -> Detection:
    cfg = OmegaConf.create({"detector": {"mask": False}, "data": {"format": "coco"}})
    source: Any = SimpleNamespace(annotated=[], classes=["a"])
    detector: Any = nn.Identity()
    return Detection(detector, cfg, source, kept.extend)


def test_all_processes_measure_the_images_in_their_order(monkeypatch: pytest.MonkeyPatch) -> None:
    """Scores are often equal in VOC's metric, which then goes by the order."""
    kept: list[Prediction] = []
    module = _detection(kept)
    module._trainer = SimpleNamespace(world_size=2)  # type: ignore[assignment]
    logged: dict[str, Any] = {}

    def gather(lists: list[Any], own: list[Any]) -> None:
        lists[:] = [[_found(0), _found(2), _found(4)], [_found(1), _found(3)]]

    monkeypatch.setattr(training.dist, "all_gather_object", gather)
    monkeypatch.setattr(training, "coco_metric", lambda *_, **__: {"box_ap": np.float64(12.5)})
    monkeypatch.setattr(module, "log_dict", lambda rows, **_: logged.update(rows))
    module.on_validation_epoch_end()
    assert [one.image for one in kept] == [0, 1, 2, 3, 4]
    # Lightning puts numbers on the module's device, and reduces a tensor where it lies, which
    # the backend of GPUs does not do on the CPU
    assert logged == {"val_box_ap": 12.5, "val_images": 5.0}
    assert {type(value) for value in logged.values()} == {float}


def test_no_image_that_could_be_read_is_no_precision(monkeypatch: pytest.MonkeyPatch) -> None:
    module = _detection([])
    module._trainer = SimpleNamespace(world_size=1)  # type: ignore[assignment]
    with pytest.raises(ConfigError, match=r"none of the validation images .* could be read"):
        module.on_validation_epoch_end()

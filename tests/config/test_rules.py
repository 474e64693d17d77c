# SPDX-License-Identifier: MIT
"""Rules between blocks: the methods that only solo-learn has, what it asserts without a word."""

from __future__ import annotations

from typing import Any

import pytest

from mixmask_solo.config import ConfigError, resolve_pretrain
from mixmask_solo.config.rules import count_devices, read_devices

HEAD = {"proj_hidden_dim": 16, "proj_output_dim": 8}
PREDICTOR = {**HEAD, "pred_hidden_dim": 16}
KWARGS: dict[str, dict[str, Any]] = {
    "barlow_twins": HEAD,
    "dino": {**HEAD, "num_prototypes": 12},
    "mocov3": {**PREDICTOR, "temperature": 0.2},
    "nnbyol": PREDICTOR,
    "nnclr": {**PREDICTOR, "temperature": 0.2},
    "nnsiam": PREDICTOR,
    "ressl": {**HEAD, "temperature_q": 0.1, "temperature_k": 0.04},
    "swav": {**HEAD, "temperature": 0.1},
    "vicreg": HEAD,
}


def config(method: str, large: int = 2, small: int = 0, **kwargs: Any) -> dict[str, Any]:
    views = [{"crop_size": 24, "num_crops": large}]
    return {
        "method": method,
        "backbone": {"name": "resnet18"},
        "method_kwargs": KWARGS[method] | kwargs,
        "data": {"dataset": "digits", "num_workers": 0},
        "augmentations": views + [{"crop_size": 16, "num_crops": small}] * bool(small),
        "optimizer": {"name": "sgd", "batch_size": 32, "lr": 0.4, "classifier_lr": 0.1},
        "scheduler": {"name": "none"},
        "max_epochs": 4,
    }


@pytest.mark.parametrize("method", list(KWARGS))
def test_keys_and_solo_learns_defaults(method: str) -> None:
    resolved = resolve_pretrain(config(method, mixmask={"grid_size": 4}), blocks=["mixmask"])
    assert ("momentum" in resolved) == (method in ("dino", "mocov3", "nnbyol", "ressl"))
    if method in ("nnbyol", "nnclr", "nnsiam", "ressl", "swav"):
        assert resolved.method_kwargs.queue_size == 65_536
    assert "momentum_classifier" not in resolved.method_kwargs


def test_a_key_that_solo_learns_own_file_sets_for_nothing() -> None:
    resolve_pretrain(config("ressl", base_tau_momentum=0.99, momentum_classifier=None))


@pytest.mark.parametrize(
    ("cfg", "message"),
    [
        (config("nnclr", queue_size=100), r"queue_size is 100: .* multiple of the global batch 32"),
        (config("ressl", queue_size=48), r"queue_size is 48"),
        (config("swav", queue_size=16), r"queue_size is 16: it must hold at least .* batch 32"),
        (config("swav", large=3), r"3 large crops: swav has a queue for exactly 2"),
        (
            config("dino", warmup_teacher_temperature_epochs=5),
            r"warmup_teacher_temperature_epochs is 5: longer than training \(max_epochs is 4\)",
        ),
        (config("vicreg", large=3), r"takes exactly 2 large ones"),
        (config("dino", small=4), r"2 large and 4 small"),
        (config("swav", sk_iter=3), r"sk_iter.*sk_iters"),
    ],
)
def test_one_line_before_any_data_is_read(cfg: dict[str, Any], message: str) -> None:
    with pytest.raises(ConfigError, match=message) as error:
        resolve_pretrain(cfg)
    assert "\n" not in str(error.value)


def test_small_crops_and_no_queue_are_swavs_own_business() -> None:
    resolve_pretrain(config("swav", small=4))
    resolve_pretrain(config("swav", large=3, queue_size=0))


@pytest.mark.parametrize(
    ("devices", "accelerator", "visible", "expected"),
    [
        ([0], "cpu", None, 1),
        ([0, 1], "auto", 0, 2),
        ("auto", "cpu", 4, 1),
        ([0, 1], "gpu", 2, [0, 1]),
        ("0,1", "gpu", None, [0, 1]),
        ("2", "gpu", None, 2),
        ("0,", "gpu", None, [0]),
        ("auto", "gpu", 4, "auto"),
    ],
)
def test_devices_take_a_form_that_lightning_knows(
    devices: Any, accelerator: str, visible: int | None, expected: Any
) -> None:
    assert read_devices(devices, accelerator, visible) == expected


@pytest.mark.parametrize(
    ("devices", "accelerator", "visible", "match"),
    [
        (4, "gpu", 2, "devices is 4: 2 are visible"),
        (1, "gpu", 0, "accelerator is gpu: no such device is visible"),
        ([], "gpu", 1, r"devices is \[\]"),
        (-2, "cpu", 0, "devices is -2"),
        (1, "mps", None, "accelerator is mps: .* float64, .*; set cpu"),
    ],
)
def test_devices_that_are_not_there(
    devices: Any, accelerator: str, visible: int, match: str
) -> None:
    with pytest.raises(ConfigError, match=match):
        read_devices(devices, accelerator, visible)


def test_auto_means_what_is_visible_and_at_least_one() -> None:
    assert [count_devices("auto", visible) for visible in (None, 0, 3)] == [1, 1, 3]

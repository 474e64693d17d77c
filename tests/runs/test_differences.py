# SPDX-License-Identifier: MIT
"""Two configurations are the same run exactly when nothing that matters differs."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
from omegaconf import OmegaConf

from mixmask_solo.runs.contradictions import differences
from mixmask_solo.runs.pretrain import completed, resolve
from support.tiny import config


def resolved(**more: Any) -> dict[str, Any]:
    return OmegaConf.to_container(resolve(config(Path("runs"), **more)))  # type: ignore[return-value]


def blocks(**kwargs: Any) -> dict[str, Any]:
    cfg = config(Path("runs"))
    cfg.method_kwargs = {k: v for k, v in cfg.method_kwargs.items() if k != "mixmask"} | kwargs
    return OmegaConf.to_container(resolve(cfg))  # type: ignore[return-value]


@pytest.mark.parametrize(
    ("one", "other", "keys"),
    [
        # Falsy values and blocks that rest on defaults: all of these once compared equal.
        ({"mixmask": {"switch": False}}, {"mixmask": {}}, ["method_kwargs.mixmask.switch"]),
        ({"unmix": {"prob": 0}}, {"unmix": {}}, ["method_kwargs.unmix.prob"]),
        ({"mixmask": {"weight": 0.0}}, {"mixmask": {}}, ["method_kwargs.mixmask.weight"]),
        ({"unmix": {}}, {"mixmask": {}}, None),
        ({"mixmask": {}}, {}, None),
        # Null and absent are the same, and so is a default written out.
        ({"mixmask": None}, {}, []),
        ({"mixmask": {"grid_size": 8}}, {"mixmask": {}}, []),
        ({"mixmask": {"partner": "reverse"}}, {"mixmask": {"partner": None}}, []),
        (
            {"mixmask": {}, "unmix": {}, "permutations": "different"},
            {"mixmask": {}, "unmix": {}},
            [],
        ),
        (
            {"mixmask": {}, "unmix": {}, "permutations": "same"},
            {"mixmask": {}, "unmix": {}},
            ["method_kwargs.mixmask.partner", "method_kwargs.permutations"],
        ),
    ],
)
def test_blocks(one: dict[str, Any], other: dict[str, Any], keys: list[str] | None) -> None:
    for a, b in ((one, other), (other, one)):
        found = [d.key for d in differences(blocks(**a), blocks(**b))]
        assert found == keys if keys is not None else found


def test_a_stored_block_is_whole_and_means_the_same_when_it_is_read_again() -> None:
    stored = blocks(mixmask={}, unmix={})
    assert stored["method_kwargs"]["mixmask"]["switch"] is True
    assert stored["method_kwargs"]["mixmask"]["partner"] == "random"
    assert stored["method_kwargs"]["unmix"]["partner"] == "reverse"
    assert completed(stored) == stored


def test_a_configuration_stored_without_a_later_default_is_not_another_one() -> None:
    new = resolved()
    old = {**new, "method_kwargs": {**new["method_kwargs"], "mixmask": {}}}
    old["method_kwargs"]["mixmask"] = {"grid_size": 2, "partner": "random", "per_sample": True}
    del old["knn_eval"], old["sync_batchnorm"]
    assert differences(old, new)
    assert not differences(completed(old), new)


def test_values_are_told_as_the_user_gives_them() -> None:
    [found] = differences(
        resolved(optimizer={"lr": 0.4}), resolved(optimizer={"lr": 0.1, "batch_size": 16})
    )
    assert (found.key, found.old, found.new) == ("optimizer.lr", 0.4, 0.1)  # not 0.025 and 0.00625


def test_what_causes_other_differences_comes_first() -> None:
    other = resolved(optimizer={"batch_size": 32}, accumulate_grad_batches=2, seed=1)
    keys = [d.key for d in differences(resolved(), other)]
    assert keys == ["optimizer.batch_size", "accumulate_grad_batches", "seed"]


@pytest.mark.parametrize(
    "free",
    [
        {"checkpoint": {"frequency": 2}},
        {"data": {"num_workers": 2}},
        {"log_every_n_steps": 1},
        {"check_val_every_n_epoch": 2},
        {"knn_eval": {"enabled": True}},
        {"resume_from_checkpoint": "x.ckpt"},
    ],
)
def test_how_a_run_is_watched_is_free(free: dict[str, Any]) -> None:
    assert not differences(resolved(), resolved(**free))


def test_augmentations_are_compared_entry_by_entry() -> None:
    a, b = resolved(), resolved()
    b["augmentations"][0]["rrc"]["crop_min_scale"] = 0.25
    [found] = differences(a, b)
    assert found == ("augmentations[0].rrc.crop_min_scale", 0.5, 0.25)

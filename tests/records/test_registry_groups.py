# SPDX-License-Identifier: MIT
"""Means, deviations, orders and the best of runs, against NumPy."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from mixmask_solo.config import ConfigError
from mixmask_solo.records.registry.groups import (
    best,
    group,
    lower_is_better,
    mixed_settings,
    ordered,
    spread,
)
from mixmask_solo.records.registry.keys import Key
from mixmask_solo.records.registry.row import Keys, Row, flatten
from support.registry import config

VALUES = st.lists(st.one_of(st.none(), st.floats(-1e6, 1e6), st.just(float("nan"))), max_size=12)
X = Key("x", lambda row: row.get("x"))


def row(**content: Any) -> Row:
    flat = flatten(content)
    return Row(Path("run"), Keys({key: i for i, key in enumerate(flat)}), list(flat.values()))


@given(values=VALUES)
def test_the_spread_is_the_samples(values: list[float | None]) -> None:
    found = spread([row(x=value) for value in values], X)
    there = np.array([v for v in values if v is not None and np.isfinite(v)])
    if not there.size:
        assert found is None
        return
    assert found is not None
    assert (found.n, found.min, found.max) == (there.size, there.min(), there.max())
    assert found.mean == pytest.approx(there.mean(), abs=1e-6)
    if there.size == 1:
        assert found.std is None
    else:
        assert found.std == pytest.approx(there.std(ddof=1), rel=1e-6, abs=1e-6)


@given(values=VALUES, reverse=st.booleans())
def test_runs_without_a_value_come_last(values: list[float | None], reverse: bool) -> None:
    rows = [row(x=value) for value in values]
    found = [one.get("x") for one in ordered(rows, X, reverse=reverse)]
    there = [v for v in values if v is not None and not np.isnan(v)]
    assert found[: len(there)] == sorted(there, reverse=reverse)
    assert all(v is None or np.isnan(v) for v in found[len(there) :])
    assert len(found) == len(values)


@given(values=VALUES, lowest=st.booleans())
def test_the_best_are_all_that_have_the_best_value(
    values: list[float | None], lowest: bool
) -> None:
    there = [v for v in values if v is not None and not np.isnan(v)]
    found = [one.get("x") for one in best([row(x=v) for v in values], X, lowest=lowest)]
    top = (min if lowest else max)(there) if there else None
    assert found == [top] * there.count(top)


@given(pairs=st.lists(st.tuples(st.sampled_from([1, 2, None, "a"]), st.integers(0, 1))))
def test_groups_divide_the_runs(pairs: list[tuple[Any, int]]) -> None:
    rows = [row(x=x, y=y) for x, y in pairs]
    groups = group(rows, [X, Key("y", lambda one: one.get("y"))])
    assert sorted(map(id, rows)) == sorted(id(one) for each in groups.values() for one in each)
    for each in groups.values():
        assert len({(one.get("x"), one.get("y")) for one in each}) == 1


def test_text_has_no_mean() -> None:
    with pytest.raises(ConfigError, match='x is no metric: "a" for one'):
        spread([row(x=1.0), row(x="a")], X)


@pytest.mark.parametrize(
    "name",
    [
        *("val_loss", "rmse", "wall_seconds", "train_mixmask_loss", "train_neg_cos_sim"),
        *("train_adios_mask_loss", "momentum_val_loss", "data_errors"),
    ],
)
def test_less_of_a_loss_is_better(name: str) -> None:
    assert lower_is_better(name)
    assert not lower_is_better("val_acc1")
    assert not lower_is_better("train_embedding_std")


@pytest.mark.parametrize(
    ("changes", "named"),
    [
        ({"seed": 1}, []),
        ({"name": "other", "checkpoint": {"dir": "elsewhere"}}, []),
        ({"data": {"dataset": "digits", "num_workers": 3}}, []),
        ({"max_epochs": 8}, ["max_epochs"]),
        ({"optimizer": {"name": "sgd", "lr": 0.2}, "seed": 1}, ["optimizer.kwargs.betas", "lr"]),
        ({"method_kwargs": {"mixmask": {"prob": 1, "grid_size": 2}}}, ["mixmask", "temperature"]),
        ({"init_from": None}, []),
        ({"pretrained_feature_extractor": "a/last.ckpt"}, ["pretrained_feature_extractor"]),
        ({"limit_val_batches": 3}, ["limit_val_batches"]),
        (
            {"data": {"dataset": "digits", "train_path": "a", "val_path": "b"}},
            ["train_path", "val_path"],
        ),
    ],
)
def test_settings_that_differ_in_a_group_are_named(
    changes: dict[str, Any], named: list[str]
) -> None:
    rows = [row(config=config()), row(config=config()), row(config=config(**changes))]
    found = mixed_settings({("1",): rows})
    assert len(found) == len(named)
    assert all(key.endswith(end) for key, end in zip(found, named, strict=True))
    assert mixed_settings({("1",): rows[:2], ("2",): rows[2:]}) == []

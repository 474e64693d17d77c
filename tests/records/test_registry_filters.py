# SPDX-License-Identifier: MIT
"""Which runs a filter means, and what a short name stands for."""

from __future__ import annotations

import operator
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from mixmask_solo.config import ConfigError
from mixmask_solo.records.registry.filters import Filter, matches, parse_filter, select
from mixmask_solo.records.registry.keys import Names, is_online
from mixmask_solo.records.registry.row import Keys, Row, flatten
from support.registry import alive, config, record

MIXED = {"method_kwargs": {"temperature": 0.2, "mixmask": {"grid_size": 4, "prob": 0.5}}}


def row(name: str, content: dict[str, Any]) -> Row:
    flat = flatten(content)
    keys = Keys({key: i for i, key in enumerate(flat)})
    return Row(Path("runs") / name, keys, list(flat.values()))


def rows() -> list[Row]:
    """Made anew for each test: one of them has been alive just now."""
    return [
        row("simclr-a", record(knn=95.0)),
        row("simclr-mixed", record(knn=97.0, config=config(**MIXED, note=None, quick=True))),
        row("byol-a", record("interrupted", config=config("byol", seed=1, precision="16"))),
        row("linear-a", record(config={"data": {"dataset": "cifar10"}}, metrics={"val_acc1": 70})),
        row("byol-live", {**record("running", **alive()), "metrics": {}, "config": config("byol")}),
        row("early", {"status": "failed", "error": "NonFiniteLoss: the loss", "config": None}),
    ]


def named(*words: str) -> list[str]:
    filters = [one for word in words if (one := parse_filter(word))]
    assert len(filters) == len(words)
    return [found.folder.name for found in select(rows(), filters, Names(rows()))]


@pytest.mark.parametrize(
    ("words", "names"),
    [
        (["method=byol"], ["byol-a", "byol-live"]),
        (["method!=byol", "kind=pretrain"], ["simclr-a", "simclr-mixed"]),
        (["method=linear"], ["linear-a", "early"]),
        (["method=*sim*"], ["simclr-a", "simclr-mixed"]),
        (["knn>90"], ["simclr-a", "simclr-mixed"]),
        (["knn<=60"], ["byol-a"]),  # the online one
        (["val_knn_acc1=60.0"], ["simclr-a", "simclr-mixed", "byol-a"]),
        (["grid_size>=4"], ["simclr-mixed"]),
        (["mixmask.grid_size==4"], ["simclr-mixed"]),
        (["method_kwargs.mixmask.grid_size<4"], []),
        (["mixed=mixmask"], ["simclr-mixed"]),
        (["state=running"], ["byol-live"]),
        (["state=diverged"], ["early"]),
        (["error~nonfinite"], ["early"]),
        (["name=byol-*"], ["byol-a", "byol-live"]),
        (["config.name=byol-digits"], ["byol-a", "byol-live"]),
        (["acc1<75"], ["linear-a"]),
        (["precision=16"], ["byol-a"]),  # text, written as a number
        (["quick=true"], ["simclr-mixed"]),
        (["betas=0.9", "seed=1"], []),
        (["config.seed=1", "betas=0.999"], ["byol-a"]),
        (["date>=2026-01-02", "date<2026-01-03", "method=byol"], ["byol-a", "byol-live"]),
        (["knn=null", "state!=running"], ["linear-a", "early"]),
        (["crop_size=32", "color_jitter.prob>0.5", "method=byol"], ["byol-a", "byol-live"]),
        (["pieces=1", "acc1>79"], ["simclr-a", "simclr-mixed", "byol-a"]),
    ],
)
def test_filters(words: list[str], names: list[str]) -> None:
    assert named(*words) == names


@pytest.mark.parametrize(
    ("word", "line"),
    [
        ("=3", "'=3' is no filter: write KEY=VALUE"),
        ("knn>", "'knn>' is no filter"),
        ("knn>high", "> compares with a number or a date"),
        ("method>3", r"method>3: method is text \(simclr for one\): compare with =, != or ~"),
        ("val_loss>2026-01", r"val_loss is a number \(0.5 for one\): compare with a number"),
        ("state=runing", r"state is 'runing'.*did you mean running\?"),
        ("metod=byol", r"no run here has 'metod' \(did you mean method\?\)"),
        ("grid_sise=4", r"did you mean grid_size\?"),
        ("val_los=4", r"did you mean val_loss\?"),
        ("prob=1", r"prob is the end of several keys, augmentations\[0\].*give one in full"),
    ],
)
def test_wrong_filters_are_one_line(word: str, line: str) -> None:
    with pytest.raises(ConfigError, match=line) as error:
        named(word)
    assert "\n" not in str(error.value)


@pytest.mark.parametrize("word", ["trained_models", "runs/a=b", "./a=b", "/x/y<3", "a", "."])
def test_folders_are_no_filters(word: str) -> None:
    assert parse_filter(word) is None


NUMBERS = st.one_of(st.integers(-5, 5), st.floats(allow_nan=False, width=32))
VALUES = st.one_of(NUMBERS, st.none(), st.booleans(), st.text(max_size=3), st.lists(NUMBERS))
SIGNS = {"<": operator.lt, "<=": operator.le, ">": operator.gt, ">=": operator.ge}


@given(value=NUMBERS, limit=NUMBERS, sign=st.sampled_from(sorted(SIGNS)))
def test_orders_are_those_of_numbers(value: float, limit: float, sign: str) -> None:
    assert matches(Filter("k", sign, repr(limit)), value) == SIGNS[sign](value, limit)


@given(value=VALUES, text=st.one_of(st.text(min_size=1, max_size=3), NUMBERS.map(repr)))
def test_equal_and_different_divide_the_runs_that_have_the_key(value: Any, text: str) -> None:
    same, other = (matches(Filter("k", sign, text), value) for sign in ("=", "!="))
    assert same != other or value is None
    assert value is not None or not other


@given(
    key=st.from_regex(r"[a-z_.]{1,8}", fullmatch=True).filter(lambda key: key != "state"),
    sign=st.sampled_from(["=", "!=", "~", *SIGNS]),
    value=NUMBERS.map(repr),
)
def test_a_filter_reads_as_it_is_written(key: str, sign: str, value: str) -> None:
    assert parse_filter(f"{key}{sign}{value}") == Filter(key, sign, value)


def test_knn_says_which_it_is() -> None:
    names = Names(rows())
    assert [names.key("knn").get(one) for one in rows()] == [95.0, 97.0, 60.0, None, None, None]
    assert [is_online(one) for one in rows()] == [False, False, True, False, False, False]


def test_a_metric_of_an_earlier_epoch_counts() -> None:
    earlier = {"val_acc1": {"value": 71.5, "epoch": 1}, "val_knn_acc1": {"value": 50.0, "epoch": 1}}
    one = row("a", record(metrics={"train_loss": 1.0}, earlier_metrics=earlier))
    names = Names([one])
    assert names.key("val_acc1").get(one) == names.key("acc1").get(one) == 71.5
    assert names.key("knn").get(one) == 50.0


def test_metrics_come_before_entries_and_these_before_the_configuration() -> None:
    one = row("a", {"status": "completed", "x": 2, "metrics": {"x": 1}, "config": {"x": 3, "b": 4}})
    names = Names([one])
    assert [names.key(k).get(one) for k in ("x", "config.x", "b")] == [1, 3, 4]

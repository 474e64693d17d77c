# SPDX-License-Identifier: MIT
"""Defaults fill what a configuration leaves out, and nothing else."""

from __future__ import annotations

import pytest
from omegaconf import OmegaConf

from mixmask_solo.host.builtin.defaults import complete, one_of, require

DEFAULTS = {"block": {"a": 1, "inner": {"b": None}}, "flat": 2}


@pytest.mark.parametrize(
    ("given", "expected"),
    [
        ({}, {"block": {"a": 1, "inner": {"b": None}}, "flat": 2}),
        ({"block": None}, {"block": {"a": 1, "inner": {"b": None}}, "flat": 2}),
        ({"block": {"a": None, "c": 3}}, {"block": {"a": None, "c": 3, "inner": {"b": None}}}),
        ({"flat": None, "other": "${flat}"}, {"flat": None, "other": None}),
    ],
)
def test_a_value_that_is_there_stays_null_or_not(given, expected):
    cfg = OmegaConf.create(given)
    OmegaConf.set_struct(cfg, True)
    completed = complete(cfg, DEFAULTS)
    assert {key: completed[key] for key in expected} == expected
    assert cfg == given


def test_the_first_missing_key_is_named():
    cfg = OmegaConf.create({"method": "byol", "a": {"b": 0, "c": None}})
    require(cfg, ["method", "a.b"])
    with pytest.raises(ValueError, match=r"^a\.c is missing: byol needs it$"):
        require(cfg, ["a.b", "a.c", "x.y"])


def test_another_value_than_the_allowed():
    one_of("key", "b", ("a", "b"))
    with pytest.raises(ValueError, match=r"^key is 'c': choose one of a, b$"):
        one_of("key", "c", ("a", "b"))

# SPDX-License-Identifier: MIT
"""Nodes to plain values and back."""

from __future__ import annotations

import pytest
from omegaconf import OmegaConf

from mixmask_solo.config import ConfigError, to_values
from mixmask_solo.config.check import literal


def test_values_are_a_copy_with_interpolations_resolved() -> None:
    cfg = OmegaConf.create({"a": {"b": [1, "${c}"]}, "c": None})
    values = to_values(cfg)
    assert values == {"a": {"b": [1, None]}, "c": None}
    values["a"]["b"].append(2)
    assert len(cfg.a.b) == 2
    given = {"x": (1, [2])}
    assert to_values(given) == {"x": [1, [2]]}
    assert to_values(given)["x"][1] is not given["x"][1]


@pytest.mark.parametrize("node", [OmegaConf.create({"a": [{"b": "???"}]}), {"a": [{"b": "???"}]}])
@pytest.mark.parametrize("prefix", ["", "data"])
def test_a_value_that_is_still_missing_is_named_in_full(node: object, prefix: str) -> None:
    key = ".".join(filter(None, [prefix, "a[0].b"]))
    with pytest.raises(ConfigError) as caught:
        to_values(node, prefix)
    assert str(caught.value).startswith(f"{key} is missing (???)")


def test_text_with_an_interpolation_comes_back_as_it_is() -> None:
    values = {"a": ["${b}", "\\\\${b}", 3], "b": "$x"}
    assert to_values(OmegaConf.create(literal(values))) == values

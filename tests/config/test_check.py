# SPDX-License-Identifier: MIT
"""The checker itself, on a schema of its own."""

from __future__ import annotations

from collections.abc import Collection, Mapping
from dataclasses import dataclass, field
from typing import Any, Literal

import pytest
from hypothesis import given
from hypothesis import strategies as st
from omegaconf import OmegaConf

from mixmask_solo.config import ConfigError, check, option, to_values, with_defaults
from mixmask_solo.config.check import literal


@dataclass
class Part:
    size: int = option(low=1, high=9)
    name: str | None = None


@dataclass
class Block:
    lr: float = option(0.1, above=0)
    kind: Literal["block", "discrete"] = "block"
    pairing: Literal["query", "pair"] | None = None
    ratio: float | list[float] = option(0.5, low=0, high=1)
    flag: bool = False
    count: int = 3
    title: str = "a"
    part: Part | None = None
    parts: list[Part] = option([])
    steps: list[int] | None = option(None, length=2, absent=True)
    anything: dict[str, Any] = field(default_factory=dict)


@dataclass
class Ordered:
    low: int = 0
    high: int = 1

    def validate(self, prefix: str) -> None:
        if self.low > self.high:
            raise ConfigError(f"{prefix}.low exceeds\n{prefix}.high")


class Either(Part):
    @classmethod
    def choose(cls, values: Mapping[str, Any]) -> tuple[type[Any], Collection[str]]:
        return (Ordered, ["guest"]) if "low" in values else (Part, ())


def read(**values: Any) -> Block:
    return check(OmegaConf.create(values), Block, "a.b")


@pytest.mark.parametrize(
    ("values", "key", "expected"),
    [
        ({}, "lr", 0.1),
        ({"lr": 1}, "lr", 1.0),
        ({"lr": "1e-4"}, "lr", 1e-4),
        ({"lr": None}, "lr", 0.1),
        ({"kind": "discrete"}, "kind", "discrete"),
        ({"pairing": None}, "pairing", None),
        ({"ratio": [0, "1e-1"]}, "ratio", [0.0, 0.1]),
        ({"ratio": 1}, "ratio", 1.0),
        ({"title": 2024}, "title", "2024"),
        ({"part": {"size": 2}}, "part", Part(2)),
        ({"parts": [{"size": 2}, {"size": 3, "name": "x"}]}, "parts", [Part(2), Part(3, "x")]),
        ({"steps": [1, 2]}, "steps", [1, 2]),
        ({"anything": {"x": {"y": 1}}}, "anything", {"x": {"y": 1}}),
    ],
)
def test_values_are_read_as_their_hint_wants_them(
    values: dict[str, Any], key: str, expected: Any
) -> None:
    result = getattr(read(**values), key)
    assert result == expected
    assert type(result) is type(expected)


@pytest.mark.parametrize(
    ("values", "fragments"),
    [
        ({"knd": "block"}, ["unknown key a.b.knd", "did you mean kind?", "lr, kind", "anything"]),
        ({"zzz": 1}, ["unknown key a.b.zzz", "a.b takes lr"]),
        ({"kind": "blok"}, ["a.b.kind is 'blok'", "block or discrete", "did you mean block?"]),
        ({"kind": 3}, ["a.b.kind is 3", "choose block or discrete"]),
        ({"lr": 0}, ["a.b.lr is 0", "a number above 0"]),
        ({"lr": True}, ["a.b.lr is True", "a number"]),
        ({"lr": "fast"}, ["a.b.lr is 'fast'", "a number"]),
        ({"lr": float("nan")}, ["a.b.lr is nan"]),
        ({"lr": float("inf")}, ["a.b.lr is inf"]),
        ({"count": 2.5}, ["a.b.count is 2.5", "a whole number"]),
        ({"count": "2"}, ["a.b.count is '2'", "a whole number"]),
        ({"flag": 1}, ["a.b.flag is 1", "true or false"]),
        ({"flag": "yes"}, ["a.b.flag is 'yes'", "true or false"]),
        ({"ratio": [0.2, 1.2]}, ["a.b.ratio[1] is 1.2", "from 0 to 1"]),
        ({"ratio": ["x"]}, ["a.b.ratio is ['x']", "a number or a list"]),
        ({"steps": [1]}, ["a.b.steps has 1 items", "give 2"]),
        ({"pairing": "None"}, ["a.b.pairing is 'None'", "write null"]),
        ({"kind": "None"}, ["a.b.kind is 'None'", "choose block or discrete"]),
        ({"part": {}}, ["a.b.part.size is missing", "a whole number from 1 to 9"]),
        ({"part": {"size": 10}}, ["a.b.part.size is 10", "from 1 to 9"]),
        ({"part": 4}, ["a.b.part is 4", "block with keys among size and name"]),
        ({"parts": 4}, ["a.b.parts is 4", "list of blocks"]),
        ({"parts": [{"size": 1}, {"sise": 1}]}, ["a.b.parts[1].sise", "did you mean size?"]),
        ({"anything": 1}, ["a.b.anything is 1", "a block of keys"]),
        ({"lr": "${nowhere}"}, ["lr", "cannot be resolved", "nowhere"]),
        ({"lr": "???"}, ["a.b.lr is missing (???)"]),
    ],
)
def test_errors_are_one_line_with_key_value_and_remedy(
    values: dict[str, Any], fragments: list[str]
) -> None:
    with pytest.raises(ConfigError) as caught:
        read(**values)
    line = str(caught.value)
    assert "\n" not in line
    for fragment in fragments:
        assert fragment in line


def test_no_node_means_all_defaults() -> None:
    assert check(None, Block, "a.b") == Block()


def test_the_node_is_not_changed_and_interpolations_reach_its_parents() -> None:
    cfg = OmegaConf.create({"size": 4, "block": {"part": {"size": "${size}"}, "ratio": [0, 1]}})
    before = OmegaConf.to_yaml(cfg)
    result = check(cfg.block, Block, "block")
    assert result.part == Part(4)
    assert isinstance(result.ratio, list)
    result.ratio.append(3.0)
    assert OmegaConf.to_yaml(cfg) == before


def test_defaults_are_not_shared_between_instances() -> None:
    first, second = read(), read()
    first.parts.append(Part(1))
    assert second.parts == []


def test_rules_between_fields_and_guests() -> None:
    with pytest.raises(ConfigError, match=r"x\.low exceeds x\.high"):
        check({"low": 2}, Ordered, "x")
    assert check({"other": 1}, Ordered, "x", extra=["other"]) == Ordered()
    with pytest.raises(ConfigError, match=r"did you mean other\?"):
        check({"othr": 1}, Ordered, "x", extra=["other"])


def test_a_schema_may_depend_on_the_values() -> None:
    chosen: Any = check({"low": 0, "guest": 1}, Either, "x")
    assert chosen == Ordered(0)
    assert check({"size": 3}, Either, "x") == Part(3)
    with pytest.raises(ConfigError, match="x is 4: give a block with keys among size and name"):
        check(4, Either, "x")


def test_with_defaults_keeps_order_and_guests_and_leaves_absent_nulls_out() -> None:
    values = {"part": {"size": 2}, "lr": "1e-3", "guest": 5}
    result = with_defaults(values, check(values, Block, "", extra=["guest"]))
    assert list(result)[:3] == ["part", "lr", "guest"]
    assert result["part"] == {"size": 2, "name": None}
    assert (result["lr"], result["guest"], result["pairing"]) == (1e-3, 5, None)
    assert "steps" not in result


@given(st.floats(allow_nan=False, allow_infinity=False))
def test_every_number_within_the_limits_passes_also_as_text(value: float) -> None:
    if 0 <= value <= 1:
        assert read(ratio=repr(value)).ratio == value
    else:
        with pytest.raises(ConfigError, match=r"a\.b\.ratio"):
            read(ratio=value)


@given(st.text(min_size=1, max_size=12))
def test_whatever_the_key_the_answer_is_one_line_that_names_it(key: str) -> None:
    if key in Block.__dataclass_fields__:
        return
    with pytest.raises(ConfigError) as caught:
        check({key: 1}, Block, "a.b")
    assert len(str(caught.value).splitlines()) == 1
    assert "unknown key a.b." in str(caught.value)


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

# SPDX-License-Identifier: MIT
"""Small files that are whole or absent, and names for them."""

from __future__ import annotations

from pathlib import Path

import pytest

from mixmask_solo.config.files import plain_name, read_json, replacing, write_json


def fail(path: Path) -> None:
    with replacing(path) as temporary:
        temporary.write_text('{"half": ')
        raise ZeroDivisionError


def test_a_file_is_replaced_once_it_is_whole(tmp_path: Path) -> None:
    path = tmp_path / "x.json"
    write_json(path, {"a": Path("b")})
    assert read_json(path) == {"a": "b"}
    with replacing(path) as temporary:
        temporary.write_text("{}")
        assert read_json(path) == {"a": "b"}
    assert read_json(path) == {}
    with pytest.raises(ZeroDivisionError):
        fail(path)
    assert [p.name for p in tmp_path.iterdir()] == ["x.json"]
    assert path.read_text() == "{}"


@pytest.mark.parametrize("content", [None, "{ torn", "[1]", b"\xff"])
def test_what_is_no_object_reads_as_an_empty_one(content: object, tmp_path: Path) -> None:
    if content is not None:
        (tmp_path / "x").write_bytes(content if isinstance(content, bytes) else content.encode())  # type: ignore[attr-defined]
    assert read_json(tmp_path / "x") == {}


@pytest.mark.parametrize(
    ("text", "name"),
    [("a b/c", "a-b-c"), ("--lr=0.1", "lr-0.1"), ("../..", "run"), ("é", "run"), ("a_b", "a_b")],
)
def test_names_need_no_quotes(text: str, name: str) -> None:
    assert plain_name(text) == name

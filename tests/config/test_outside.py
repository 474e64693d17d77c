# SPDX-License-Identifier: MIT
"""Entry points of real packages: listed without an import, and each that fails is one line."""

from __future__ import annotations

import sys
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from mixmask_solo.config import ConfigError
from mixmask_solo.config.outside import load_outside, outside

GROUP = "mixmask_solo.tested"
Install = Callable[..., None]


@pytest.fixture
def install(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Install]:
    """``install(package, name="module:object", ...)``: as pip leaves it, on the path."""
    monkeypatch.syspath_prepend(tmp_path)
    modules = {*sys.modules}

    def install(package: str, **entries: str) -> None:
        place = tmp_path / f"{package}-1.0.dist-info"
        place.mkdir()
        (place / "METADATA").write_text(f"Metadata-Version: 2.1\nName: {package}\nVersion: 1.0\n")
        lines = [f"{name} = {value}" for name, value in entries.items()]
        (place / "entry_points.txt").write_text("\n".join([f"[{GROUP}]", *lines]))
        outside.cache_clear()

    yield install
    outside.cache_clear()
    for name in {*sys.modules} - modules:
        del sys.modules[name]


def test_they_are_listed_by_name_and_not_imported(install: Install, tmp_path: Path) -> None:
    install("one", mask="never_imported", fill="never_imported:x")
    install("two", mask="never_imported")
    (tmp_path / "never_imported.py").write_text("raise SystemError")
    found = outside(GROUP)
    listed = {name: [(e.value, e.dist.name) for e in entries] for name, entries in found.items()}
    assert listed["fill"] == [("never_imported:x", "one")]
    assert sorted(listed["mask"]) == [("never_imported", "one"), ("never_imported", "two")]
    assert outside("mixmask_solo.nobodys") == {}
    assert "never_imported" not in sys.modules


def test_a_module_that_registers_its_name_is_taken(install: Install, tmp_path: Path) -> None:
    install("good-masks", mask="good_masks:Mask")
    (tmp_path / "good_masks.py").write_text("class Mask: ...\n")
    assert load_outside(GROUP, "mask", "mask_type mask", {"mask"}) is None
    assert "good_masks" in sys.modules


@pytest.mark.parametrize(
    ("code", "reason"),
    [
        (None, "cannot be loaded (ModuleNotFoundError: No module named 'odd_masks'): mend or"),
        ("", "cannot be loaded (AttributeError: module 'odd_masks' has no attribute 'Mask'): mend"),
        ("import sys; sys.exit(3)", "cannot be loaded (SystemExit: 3): mend or remove it"),
        ("raise ValueError('two\\nlines')", "cannot be loaded (ValueError: two): mend or remove"),
        ("def Mask(: ...", "cannot be loaded (SyntaxError: "),
        ("Mask = 1", "registers no mask: mend or remove it"),
    ],
)
def test_what_is_wrong_with_a_package_is_one_line(
    code: str | None, reason: str, install: Install, tmp_path: Path
) -> None:
    install("odd-masks", mask="odd_masks:Mask")
    if code is not None:
        (tmp_path / "odd_masks.py").write_text(code)
    with pytest.raises(ConfigError) as error:
        load_outside(GROUP, "mask", "mask_type mask", {"other"})
    told = "mask_type mask is brought by package odd-masks (entry point mask = odd_masks:Mask)"
    assert str(error.value).startswith(f"{told}, which {reason}")
    assert "\n" not in str(error.value)


def test_two_packages_of_one_name_are_both_named(install: Install) -> None:
    install("one", mask="a")
    install("two", mask="b")
    with pytest.raises(ConfigError) as error:
        load_outside(GROUP, "mask", "mask_type mask", {"mask"})
    assert str(error.value) == "mask_type mask is brought by one and two: uninstall all but one"


def test_ctrl_c_while_it_loads_is_ctrl_c(install: Install, tmp_path: Path) -> None:
    install("slow-masks", mask="slow_masks")
    (tmp_path / "slow_masks.py").write_text("raise KeyboardInterrupt")
    with pytest.raises(KeyboardInterrupt):
        load_outside(GROUP, "mask", "mask_type mask", {"mask"})

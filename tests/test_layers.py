# SPDX-License-Identifier: MIT
"""Layers import downwards only, and the package itself loads nothing."""

from __future__ import annotations

import ast
import subprocess
import sys
from pathlib import Path

import pytest

import mixmask_solo

ROOT = Path(mixmask_solo.__file__).parent
MAY_IMPORT = {
    "masks": set(),
    "fills": {"masks"},
    "objectives": set(),
    "networks": set(),
    "config": set(),
    "mixtures": {"masks"},
    # host and records for frozen networks, in one file of its own (see below)
    "strategies": {
        "masks",
        "fills",
        "mixtures",
        "objectives",
        "networks",
        "config",
        "host",
        "records",
    },
    "host": {"objectives", "networks"},
    "methods": {"host", "strategies", "objectives", "networks", "config", "mixtures"},
    "screen": set(),
    "data": {"config", "screen"},
    "jobs": {"config", "records"},
    "records": {"data", "config"},
    "evaluation": {"host", "methods", "data", "config", "records"},
    "export": {"host", "strategies", "config", "records", "evaluation"},
    "runs": {
        "objectives",
        "host",
        "methods",
        "strategies",
        "data",
        "config",
        "evaluation",
        "records",
        "jobs",
        "screen",
    },
    "tables": {"methods", "config", "records", "runs"},
    "bench": {"host", "methods", "strategies", "data", "config", "records", "runs", "screen"},
    "report": {
        "bench",
        "tables",
        "masks",
        "fills",
        "host",
        "methods",
        "strategies",
        "mixtures",
        "data",
        "config",
        "records",
        "runs",
        "evaluation",
    },
}
PURE = {"torch", "math", "typing", "collections", "functools", "dataclasses", "itertools"}


def imported(path: Path) -> set[str]:
    """Absolute module names that a file imports anywhere."""
    names: set[str] = set()
    for node in ast.walk(ast.parse(path.read_text())):
        if isinstance(node, ast.Import):
            names |= {alias.name for alias in node.names}
        elif isinstance(node, ast.ImportFrom) and node.module:
            assert node.level == 0, f"{path}: relative import"
            names.add(node.module)
            if node.module == "mixmask_solo":
                inner = [a.name for a in node.names if (ROOT / a.name).is_dir()]
                names |= {f"mixmask_solo.{name}" for name in inner}
    return names


def files(layer: str) -> list[Path]:
    return sorted((ROOT / layer).rglob("*.py"))


@pytest.mark.parametrize("layer", sorted(MAY_IMPORT))
def test_imports_point_downwards(layer: str) -> None:
    for path in files(layer):
        for name in imported(path):
            package, _, rest = name.partition(".")
            target = rest.partition(".")[0]
            if package == "mixmask_solo" and target and target != layer:
                assert target in MAY_IMPORT[layer], f"{path.relative_to(ROOT)} imports {name}"


def test_no_two_layers_import_each_other() -> None:
    uses = {
        layer: {name.split(".")[1] for path in files(layer) for name in imported(path)
                if name.startswith("mixmask_solo.")}
        for layer in (p.name for p in ROOT.iterdir() if p.is_dir())
    }  # fmt: skip
    pairs = {(a, b) for a in uses for b in uses[a] if a < b and a in uses.get(b, ())}
    assert not pairs


def test_the_data_layer_keeps_its_rooms() -> None:
    assert len(list((ROOT / "data").glob("*.py"))) <= 8


def test_only_one_file_knows_solo_learn() -> None:
    for path in ROOT.rglob("*.py"):
        if any(name.partition(".")[0] == "solo" for name in imported(path)):
            assert path.relative_to(ROOT).as_posix() == "host/solo.py"


def test_one_file_of_the_strategies_builds_networks() -> None:
    for path in files("strategies"):
        layers = {name.split(".")[1] for name in imported(path) if name.startswith("mixmask_solo.")}
        assert path.name == "frozen.py" or not layers & {"host", "records"}, path


def test_dali_is_imported_in_its_own_folder_when_it_is_asked_for() -> None:
    users = {
        p.parent.relative_to(ROOT) for p in ROOT.rglob("*.py") if "nvidia.dali" in p.read_text()
    }
    assert users <= {Path("data/decoders/dali")}
    assert not [p for p in files("data") for name in imported(p) if name.startswith("nvidia")]


@pytest.mark.parametrize("layer", ["fills", "masks", "mixtures", "networks", "objectives"])
def test_pure_layers_need_torch_alone(layer: str) -> None:
    for path in files(layer):
        for name in imported(path):
            top = name.partition(".")[0]
            assert top in PURE | {"__future__", "mixmask_solo"}, f"{path}: {name}"


def test_every_layer_is_listed() -> None:
    folders = {p.name for p in ROOT.iterdir() if p.is_dir() and not p.name.startswith("_")}
    assert folders - {"cli"} <= MAY_IMPORT.keys()


def test_importing_the_package_loads_nothing() -> None:
    code = "import sys, mixmask_solo; print(len([m for m in sys.modules if 'torch' in m]))"
    out = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert out.stdout.strip() == "0"


def test_files_stay_small_and_carry_the_licence() -> None:
    for path in ROOT.rglob("*.py"):
        lines = path.read_text().splitlines()
        assert lines[0] == "# SPDX-License-Identifier: MIT", path
        assert len(lines) <= 250, f"{path}: {len(lines)} lines"

# SPDX-License-Identifier: MIT
"""Which host is taken, and that asking costs nothing."""

from __future__ import annotations

import subprocess
import sys
from types import ModuleType

import pytest

import mixmask_solo.host as host_module
from mixmask_solo.host import load


@pytest.fixture(autouse=True)
def fresh():
    """Each test decides anew, and leaves no half-imported host behind."""
    load.cache_clear()
    yield
    load.cache_clear()
    sys.modules.pop("mixmask_solo.host.solo", None)


def fake_solo(monkeypatch, base: type) -> None:
    solo, methods = ModuleType("solo"), ModuleType("solo.methods")
    solo.methods = methods
    methods.BaseMethod = base
    monkeypatch.setitem(sys.modules, "solo", solo)
    monkeypatch.setitem(sys.modules, "solo.methods", methods)
    monkeypatch.setattr(host_module, "find_spec", lambda name: object())


class Old:
    """As in solo-learn 1.0.2."""

    def __init__(self, backbone, num_classes, max_epochs): ...


def test_builtin_has_everything():
    host = load("builtin")
    assert set(host.methods) == {"byol", "mocov2plus", "simclr", "simsiam"}
    assert issubclass(host.base_momentum, host.base)
    assert load("builtin") is host


def test_auto_without_solo_learn(monkeypatch):
    monkeypatch.setattr(host_module, "find_spec", lambda name: None)
    assert load("auto").name == "builtin"


def test_auto_passes_over_an_old_solo_learn(monkeypatch, caplog):
    fake_solo(monkeypatch, Old)
    assert load("auto").name == "builtin"
    assert "too old" in caplog.text


def test_asking_for_an_old_solo_learn_says_what_to_do(monkeypatch):
    fake_solo(monkeypatch, Old)
    with pytest.raises(ImportError, match=r"too old.*docs/solo-learn"):
        load("solo")


def test_asking_for_a_missing_solo_learn_says_what_to_do(monkeypatch):
    monkeypatch.setitem(sys.modules, "solo", None)
    monkeypatch.setitem(sys.modules, "solo.methods", None)
    with pytest.raises(ImportError, match=r"not importable.*docs/solo-learn"):
        load("solo")


def test_a_solo_learn_that_breaks_while_it_is_imported(monkeypatch, tmp_path):
    (tmp_path / "solo").mkdir()
    (tmp_path / "solo" / "__init__.py").write_text("import math; math.no_such_thing")
    monkeypatch.syspath_prepend(tmp_path)
    for name in [n for n in sys.modules if n.split(".")[0] == "solo"]:
        monkeypatch.delitem(sys.modules, name)
    assert load("auto").name == "builtin"
    with pytest.raises(ImportError, match="no_such_thing"):
        load("solo")


def test_unknown_host():
    with pytest.raises(ValueError, match="'lightly': choose one of auto, solo, builtin"):
        load("lightly")


def test_importing_the_package_loads_no_framework():
    code = "import mixmask_solo.host, sys; print('torch' in sys.modules, 'timm' in sys.modules)"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.split() == ["False", "False"]

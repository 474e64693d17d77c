# SPDX-License-Identifier: MIT
"""Where solo-learn is absent, unused, old or incomplete, the plugin costs and breaks nothing."""

from __future__ import annotations

from pathlib import Path

import pytest

SCAN = "from hydra.core.plugins import Plugins; Plugins.instance()"
AGAIN = "import hydra_plugins.mixmask_solo_plugin as p, importlib; importlib.reload(p)"

OLD = """
class BaseMethod:
    def __init__(self, backbone, num_classes): ...
METHODS = {"byol": BaseMethod}
"""
LACKING = """
class BaseMethod:
    def __init__(self, cfg): ...
class base: BaseMomentumMethod = BaseMethod
LinearModel = BaseMethod
METHODS = {"byol": BaseMethod, "simclr": BaseMethod, "simsiam": BaseMethod}
"""
PARTIAL = """
class BaseMethod:
    def __init__(self, cfg): ...
class base: pass
LinearModel = BaseMethod
METHODS = dict.fromkeys(("byol", "mocov2plus", "simclr", "simsiam"), BaseMethod)
"""


def fake(folder: Path, methods: str) -> None:
    (folder / "solo" / "methods").mkdir(parents=True)
    (folder / "solo" / "__init__.py").touch()
    (folder / "solo" / "methods" / "__init__.py").write_text(methods)


def test_it_imports_neither_torch_nor_solo_learn(python, tmp_path) -> None:
    """Every Hydra application on the machine imports the plugin, also beside a solo-learn."""
    fake(tmp_path, "raise SystemExit('somebody imported solo.methods')")
    done = python(
        f"import sys; {SCAN}; assert 'hydra_plugins.mixmask_solo_plugin' in sys.modules;"
        "print([m for m in sys.modules if m.partition('.')[0] in ('torch', 'lightning', 'solo')])"
    )
    assert (done.stdout.strip(), done.stderr, done.returncode) == ("[]", "", 0)


def test_a_package_that_only_shares_the_name_is_left_alone(python, tmp_path) -> None:
    (tmp_path / "solo").mkdir()
    (tmp_path / "solo" / "__init__.py").write_text("key = 1")
    done = python(f"import solo; {SCAN}")
    assert (done.stdout, done.stderr, done.returncode) == ("", "", 0)


@pytest.mark.parametrize(
    ("methods", "reason"),
    [
        (OLD, "this solo-learn is too old, its methods take no cfg"),
        (LACKING, "this solo-learn has no mocov2plus"),
        (PARTIAL, "this solo-learn has no BaseMomentumMethod"),
    ],
    ids=["old", "lacking", "partial"],
)
def test_another_version_gives_one_warning(python, tmp_path, methods, reason) -> None:
    fake(tmp_path, methods)
    done = python(f"import solo.methods; {SCAN}; {AGAIN}; print(len(solo.methods.METHODS))")
    assert done.returncode == 0
    (line,) = done.stderr.splitlines()
    assert line.startswith("MixMask is not available in this solo-learn: ")
    assert reason in line
    assert done.stdout.strip().isdigit()


def test_registering_by_hand_says_what_is_missing(python, tmp_path) -> None:
    fake(tmp_path, OLD)
    done = python("import mixmask_solo; mixmask_solo.register()")
    assert done.returncode == 1
    assert done.stderr.splitlines()[-1].startswith("ImportError: this solo-learn is too old")


@pytest.mark.parametrize("arguments", ["['x', 'nowhere.py']", "['x', '-m', 'pytest']"])
def test_the_command_refuses_in_one_line(python, tmp_path, arguments) -> None:
    fake(tmp_path, OLD)
    done = python(
        f"import sys; sys.argv = {arguments}; import mixmask_solo.cli.solo as c; c.main()"
    )
    assert done.returncode == 2
    (line,) = done.stderr.splitlines()
    assert line.startswith("mixmask-solo: ")


def test_the_command_explains_itself(python) -> None:
    done = python("import sys; sys.argv = ['x', '-h']; import mixmask_solo.cli.solo as c; c.main()")
    assert done.returncode == 0
    assert done.stdout.startswith("mixmask-solo SCRIPT")

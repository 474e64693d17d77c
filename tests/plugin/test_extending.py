# SPDX-License-Identifier: MIT
"""docs/extending.md: its package, installed as a package of its own, trains on both hosts."""

from __future__ import annotations

import os
import re
import subprocess
import sys
from pathlib import Path

import pytest

from mixmask_solo.host import load

ROOT = Path(__file__).parents[2]
PAGE = (ROOT / "docs" / "extending.md").read_text()
BLOCKS = dict(re.findall(r"^```\w+\n# (\S+)\n(.*?)^```", PAGE, re.MULTILINE | re.DOTALL))
RUN = """
import sys
from omegaconf import OmegaConf
from mixmask_solo.runs.pretrain import pretrain
from support.tiny import config, weights

from pathlib import Path
host, role, folder, page = sys.argv[1:]
assert not [name for name in sys.modules if name.startswith("my_relatives")]
cfg = config(Path(folder), "byol", host=host, max_epochs=1, limit_train_batches=2)
cfg.method_kwargs.mixmask = None
cfg = OmegaConf.merge(cfg, OmegaConf.load(page))
cfg.method_kwargs.blackout.role = role
if host == "solo":
    cfg.backbone = {"name": "resnet18"}
result = pretrain(cfg)
stored = result["config"]["method_kwargs"]["blackout"]
assert stored == {"keep": 0.5, "role": role, "grid_size": 8}, stored
assert result["steps"] == 2
assert ("train_blackout_loss" in result["metrics"]) == (role == "branch")
assert "train_blackout_lam" not in result["metrics"]
"""


@pytest.fixture(scope="module")
def installed(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The folder with the installed package of the page."""
    folder = tmp_path_factory.mktemp("extending")
    for name, text in BLOCKS.items():
        path = folder / "source" / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(text)
    target = folder / "target"
    pip = [sys.executable, "-m", "pip", "install", "--quiet", "--no-index", "--no-deps"]
    pip += ["--no-build-isolation", "--target", str(target), str(folder / "source")]
    subprocess.run(pip, check=True, capture_output=True)
    return target


def test_each_example_is_short() -> None:
    assert list(BLOCKS) == [
        *("pyproject.toml", "my_relatives/blackout.py", "my_relatives/turned.py", "run.yaml"),
    ]
    assert all(len(text.splitlines()) < 40 for text in BLOCKS.values())


@pytest.mark.parametrize("role", ["view", "branch"])
@pytest.mark.parametrize("host", ["builtin", pytest.param("solo", marks=pytest.mark.solo)])
def test_the_package_of_the_page_trains_two_steps(
    host: str, role: str, installed: Path, tmp_path: Path
) -> None:
    try:
        load(host)
    except ImportError as error:
        pytest.skip(str(error))
    path = [str(installed), str(ROOT), str(ROOT / "tests"), os.environ.get("PYTHONPATH", "")]
    arguments = [host, role, str(tmp_path / "runs"), str(installed.parent / "source/run.yaml")]
    done = subprocess.run(
        [sys.executable, "-W", "ignore", "-c", RUN, *arguments],
        capture_output=True,
        text=True,
        env={**os.environ, "PYTHONPATH": os.pathsep.join(path)},
        cwd=tmp_path,
        check=False,
    )
    assert done.returncode == 0, done.stderr[-2000:]

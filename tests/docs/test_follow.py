# SPDX-License-Identifier: MIT
"""README and docs followed to the letter in a copy of the checkout: no command fails.

Minutes, so only with MIXMASK_DOCS=1 (``make test-docs``). Trainings are cut short by an environment
variable that the pages do not show, ImageNet and CIFAR are digits, and a Slurm is pretended.
"""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image

from docs.blocks import ROOT, Block, blocks

pytestmark = pytest.mark.skipif("MIXMASK_DOCS" not in os.environ, reason="minutes: make test-docs")

# What this machine cannot follow, by what a block holds, with the reason.
LEFT_OUT = {
    "make demo": "the two commands: run by CI and by hand",
    "make gpu": "needs a GPU",
    "main_pretrain.py": "needs solo-learn: make test-solo",
    "mixmask-solo main_knn.py": "needs solo-learn",
    "main_linear.py": "needs solo-learn",
    "solo-learn/scripts": "needs solo-learn",
    "github.com/vturrisi": "needs solo-learn",
    "ILSVRC2012": "ImageNet's own archives",
    "unzip tiny-imagenet": "Tiny-ImageNet's own archive",
    "checkpoint_0199": "published weights, by a schematic command",
    "mixmask-detect": "Pascal VOC's and COCO's own images",
    "mixmask-tables run table5": "trains for weeks",
    "site.yaml gpus_per_node=8": "a schematic command",
    "pip install '.[slurm]'": "installs",
    "train_net.py --config-file": "needs Detectron2",
    "--models_to_load encoder": "needs Monodepth2",
    "mixmask-submit status 4711": "looks after a job that a Slurm runs: make test-slurm",
}
SHORT = "max_epochs=1 ++limit_train_batches=2 ++limit_val_batches=2"
SHORT += " ++data.num_workers=0 ++accelerator=cpu"
DIGITS = " data.dataset=digits data.format=image_folder optimizer.batch_size=32"
SIMCLR = "--config-path scripts/pretrain/digits --config-name simclr"
FAKE_SBATCH = """#!/bin/sh
echo "Submitted batch job 4711"
"""


def followed() -> list[Block]:
    found = [b for b in blocks("bash") if not any(sign in b.text for sign in LEFT_OUT)]
    return sorted(found, key=lambda b: b.page)


def test_what_is_left_out_is_still_there() -> None:
    texts = [b.text for b in blocks("bash")]
    assert [sign for sign in LEFT_OUT if not any(sign in text for text in texts)] == []


@pytest.fixture(scope="module")
def place(tmp_path_factory: Any) -> Path:
    """A copy of what is under version control, with a set of images and a run that pages name."""
    place = tmp_path_factory.mktemp("clone") / "mixmask_solo"
    listed = subprocess.run(
        ["git", "ls-files", "-co", "--exclude-standard"], cwd=ROOT, capture_output=True, check=True
    )
    for name in listed.stdout.decode().splitlines():
        if (ROOT / name).is_file():
            (place / name).parent.mkdir(parents=True, exist_ok=True)
            shutil.copy(ROOT / name, place / name)
    (place / ".venv").symlink_to(Path(sys.prefix))
    rng = np.random.default_rng(0)
    for i in range(16):
        file = place / "imagenet" / "train" / "ab"[i % 2] / f"{i}.png"
        file.parent.mkdir(parents=True, exist_ok=True)
        Image.fromarray(rng.integers(0, 256, (32, 32, 3), dtype=np.uint8)).save(file)
    (place / "bin").mkdir()
    for tool in ("sbatch", "srun", "squeue", "scancel"):
        (place / "bin" / tool).write_text(FAKE_SBATCH)
        (place / "bin" / tool).chmod(0o755)
    return place


def run(place: Path, text: str, more: str = "") -> subprocess.CompletedProcess[str]:
    path = f"{place / 'bin'}:{Path(sys.prefix) / 'bin'}:{os.environ['PATH']}"
    env = {**os.environ, "PATH": path, "PYTHONPATH": str(place), "OMP_NUM_THREADS": "1"}
    env["MIXMASK_SOLO_OVERRIDES"] = SHORT + more
    return subprocess.run(
        ["bash", "-euo", "pipefail", "-c", text],
        cwd=place,
        env=env,
        capture_output=True,
        text=True,
        timeout=900,
    )


@pytest.mark.parametrize("block", followed(), ids=lambda block: block.place)
def test_a_block_of_commands(block: Block, place: Path) -> None:
    text, more = block.text, ""
    if "scripts/pretrain/cifar" in text and "mixmask-submit" not in text:
        more = DIGITS + " data.train_path=null data.val_path=null data.download=false"
        more += " method_kwargs.queue_size=64 max_epochs=2"
    if "mixmask-submit" in text:
        shutil.copy(place / "scripts/slurm/cpu.yaml", place / "site.yaml")
        text = text.replace("cp scripts/slurm/gpu.yaml site.yaml", "")
    if "--config-name moco\n" in text:
        [yaml] = [
            b.text for b in blocks("yaml") if b.page == block.page and "method: mocov2" in b.text
        ]
        (place / "moco.yaml").write_text(yaml)
        more = " optimizer.batch_size=128 ~limit_train_batches"
    if "from_run=RUN" in text:
        made = run(place, f"mixmask-pretrain {SIMCLR}")
        text = text.replace("from_run=RUN", f"from_run={made.stdout.split()[-1]}")
    done = run(place, text, more)
    assert done.returncode == 0, f"{block.place}\n{text}\n{done.stdout}\n{done.stderr}"


@pytest.mark.parametrize("block", list(blocks("python")), ids=lambda block: block.place)
def test_a_block_of_python(block: Block, place: Path) -> None:
    if block.page in ("docs/extending.md", "docs/strategies.md", "docs/transfer.md"):
        pytest.skip("has a test of its own, or is a fragment")
    if "CIFAR10(" in block.text:
        pytest.skip("run by test_python_page.py, where there are no downloads")
    (place / "example.py").write_text(block.text)
    done = run(place, "python example.py")
    assert done.returncode == 0, f"{block.place}\n{done.stderr}"

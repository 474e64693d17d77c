# SPDX-License-Identifier: MIT
"""Runs whose localiser is the network of an earlier run: from the command line, resumed, judged."""

from __future__ import annotations

import json
import os
import shutil
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
import torch

from mixmask_solo.config import ConfigError
from mixmask_solo.evaluation.run_knn import evaluate_knn
from mixmask_solo.fills import high_pass
from mixmask_solo.records.checkpoints import FILTERS, LAST, META, read_checkpoint
from mixmask_solo.runs.pretrain import pretrain
from support.checkpoint import load_pretrained
from support.saliency import localizer_file
from support.tiny import config, interrupted, weights

ROOT = Path(__file__).parents[2]


# resnet10t as it is: of other weights, its name alone is given
WIDE = {"name": "resnet10t", "kwargs": {"channels": [64, 128, 256, 512], "stem_width": 32}}


@pytest.fixture(scope="module")
def earlier(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The folder of a run of a few steps."""
    folder = tmp_path_factory.mktemp("earlier")
    made = pretrain(config(folder, max_epochs=1, method_kwargs={"mixmask": None}, backbone=WIDE))
    return Path(made["directory"])


def saliency(run: Path, **more: Any) -> dict[str, Any]:
    localizer = {"from_run": str(run), "stage": 2, **more.pop("localizer", {})}
    return {"mixmask": None, "saliency": {"localizer": localizer, **more}}


@pytest.mark.slow
def test_on_the_command_line_and_in_what_is_stored(earlier: Path, tmp_path: Path) -> None:
    block = "+method_kwargs.saliency.localizer"
    small = ["limit_train_batches=2", "limit_val_batches=1", "data.num_workers=0", "max_epochs=1"]
    recipe = ["--config-path", "scripts/pretrain/digits", "--config-name", "mocov2plus"]
    given = [*recipe, *small, f"{block}.stage=2", f"checkpoint.dir={tmp_path}"]
    given += [f"{block}.from_run={os.path.relpath(earlier, ROOT)}"]
    environment = {**os.environ, "PYTHONPATH": str(ROOT), "OMP_NUM_THREADS": "1"}
    command = [sys.executable, "-m", "mixmask_solo.cli.pretrain", *given]
    done = subprocess.run(command, capture_output=True, text=True, cwd=ROOT, env=environment)
    assert done.returncode == 0, done.stderr
    assert "eval mode" not in done.stderr
    folder = Path(done.stdout.strip().rpartition(" -> ")[2])
    stored = json.loads((folder / "args.json").read_text())["method_kwargs"]["saliency"]
    assert stored["localizer"]["from_run"] == str(earlier)  # from any folder
    assert stored["localizer"]["backbone"]["name"] == "resnet10t"
    assert (stored["queries"], stored["negatives"]) == ("both", True)
    own, theirs = weights(folder / LAST), weights(earlier / LAST)
    prefix = "strategies.saliency.localizer.network."
    kept = [k for k in own if k.startswith(prefix)]
    assert kept
    assert all(torch.equal(own[k], theirs[f"backbone.{k.removeprefix(prefix)}"]) for k in kept)
    assert not [k for k in own if "localizer.network.layer3" in k]


@pytest.mark.parametrize("method", ["mocov2", "simclr"])
def test_resumed_bit_for_bit_without_the_earlier_run(
    method: str, earlier: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    gone = tmp_path / "earlier"
    shutil.copytree(earlier, gone)

    def run(folder: str, blocks: dict[str, Any], **more: Any) -> Any:
        return config(tmp_path / folder, method, max_epochs=2, method_kwargs=blocks, **more)

    straight = pretrain(run("a", saliency(gone)))
    saved = interrupted(monkeypatch, run("b", saliency(gone)))
    shutil.rmtree(gone)
    go_on = {"resume_from_checkpoint": str(saved)}
    with pytest.raises(ConfigError, match="a run goes on without it where digest and backbone"):
        pretrain(run("b", saliency(gone), **go_on))
    file = localizer_file(tmp_path / "other.pth")
    named = {"from_run": None, "weights": str(file), "backbone": WIDE}
    with pytest.raises(ConfigError, match=r"localizer\.digest is .*, but checkpoint .* was made"):
        pretrain(run("b", saliency(gone, localizer=named), **go_on))
    stored = straight["config"]["method_kwargs"]["saliency"]["localizer"]
    known = {key: stored[key] for key in ("digest", "backbone", "mean", "std")}
    # without its file, or with the same weights elsewhere
    blocks = saliency(gone, localizer=known) if method == "mocov2" else saliency(earlier)
    resumed = pretrain(run("b", blocks, **go_on))
    a, b = (weights(Path(r["directory"]) / LAST) for r in (straight, resumed))
    assert a.keys() == b.keys()
    assert not [k for k in a if not torch.equal(a[k], b[k])]


def test_init_from_leaves_the_localiser_alone(earlier: Path, tmp_path: Path) -> None:
    first = pretrain(config(tmp_path, "simclr", max_epochs=1, method_kwargs=saliency(earlier)))
    start = Path(first["directory"])
    with pytest.raises(ConfigError, match=r"inputs pass a filter \(method_kwargs\.saliency\)"):
        pretrain(config(tmp_path, "simclr", method_kwargs=saliency(start)))
    file = localizer_file(tmp_path / "other.pth")
    named = {"from_run": None, "weights": str(file), "backbone": WIDE}
    changes = {"max_epochs": 1, "method_kwargs": saliency(earlier, localizer=named)}
    second = pretrain(config(tmp_path, "simclr", init_from=str(start), **changes))
    prefix = "strategies.saliency.localizer.network."
    own, theirs = weights(Path(second["directory"]) / LAST), torch.load(file, weights_only=True)
    kept = [k for k in own if k.startswith(prefix)]
    assert all(torch.equal(own[k], theirs[k.removeprefix(prefix)]) for k in kept)


@pytest.mark.parametrize("fill", ["high_pass", "mean"])
def test_only_a_high_pass_runs_network_filters_what_it_is_judged_by(
    fill: str, earlier: Path, tmp_path: Path
) -> None:
    blocks = saliency(earlier, fill=fill)
    made = pretrain(config(tmp_path, "simclr", max_epochs=1, method_kwargs=blocks))
    folder, filters = Path(made["directory"]), ["saliency"] * (fill == "high_pass")
    assert read_checkpoint(folder / LAST)[META][FILTERS] == filters
    network = load_pretrained(folder).eval()
    x = torch.rand(2, 3, 32, 32)
    found = network(x)
    assert len(network._forward_pre_hooks) == len(filters)
    network._forward_pre_hooks.clear()
    torch.testing.assert_close(found, network(high_pass(x, 5.0, 11) if filters else x))
    assert not [k for k in network.state_dict() if "localizer" in k]
    if filters:
        assert evaluate_knn(folder, device="cpu")["train_images"] > 0

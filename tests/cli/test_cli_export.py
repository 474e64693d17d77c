# SPDX-License-Identifier: MIT
"""mixmask-export as a user types it, right and wrong."""

from __future__ import annotations

import json
import os
import signal
import sys
import time
from pathlib import Path
from typing import Any

import pytest
import torch

from mixmask_solo.cli import export
from mixmask_solo.export import write
from mixmask_solo.export.targets.timm import Timm
from mixmask_solo.export.targets.torchvision import Torchvision
from support.exported import run_file


@pytest.fixture(scope="module")
def run(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """SimCLR with resnet18 and its CIFAR stem, behind MSCN's filter; other files beside it."""
    folder = tmp_path_factory.mktemp("run")
    mscn = {"mscn": {"sigma": 2.0, "kernel": 5, "patch_size": 6}}
    run_file(folder, "simclr", mscn, backbone={"name": "resnet18"})
    (folder / "timm").mkdir()
    run_file(folder / "timm", "simclr")
    (folder / "there.pth").touch()
    (folder / "probe").mkdir()
    state = torch.load(folder / "last.ckpt", weights_only=True)["state_dict"]
    classifier = {"classifier.weight": torch.ones(10, 512), "classifier.bias": torch.ones(10)}
    torch.save({"state_dict": classifier}, folder / "probe" / "last.ckpt")
    told = {"pretrained_feature_extractor": "a.ckpt", "backbone": {"name": "resnet18"}}
    (folder / "probe" / "args.json").write_text(json.dumps(told))
    torch.save(state, folder / "mere.pth")
    return folder


def call(monkeypatch: pytest.MonkeyPatch, *arguments: str) -> None:
    monkeypatch.setattr(sys, "argv", ["mixmask-export", *arguments])
    export.main()


def test_it_tells_how_to_load_and_what_was_compared(
    run: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    out = tmp_path / "r18.pth"
    for _ in range(2):
        call(monkeypatch, str(run), "--to", "torchvision", "--out", str(out), "--force")
    printed = capsys.readouterr().out
    *lines, last = printed[len(printed) // 2 :].strip().splitlines()
    assert last.startswith(f"resnet18 -> {out} (loaded with torchvision ")
    assert "largest difference 0.0e+00" in last
    code = [line.strip() for line in lines[: lines.index("")]]
    names: dict[str, Any] = {}
    exec("\n".join(code), names)
    saved = torch.load(out, weights_only=True)
    assert torch.equal(names["model"].conv1.weight, saved["conv1.weight"])
    assert "  images = high_pass(images, sigma=2.0, kernel=5)" in lines
    assert "beside it: r18.pth.json" in lines
    assert sorted(p.name for p in tmp_path.iterdir()) == ["r18.pth", "r18.pth.json"]


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ("{run}", "the following arguments are required: --to"),
        ("{run} --to torchvison", "did you mean torchvision?"),
        ("{run} --to timm --wich head", "did you mean --which?"),
        ("lost.ckpt --to timm", "checkpoint 'lost.ckpt' does not exist"),
        ("{run}/probe --to timm", "is a linear probe's: give what it was made from, '"),
        ("{run}/timm --to torchvision", "the network is timm's resnet10t: torchvision takes"),
        ("{run}/timm --to detectron2", "the network is timm's resnet10t: detectron2 takes"),
        ("{run} --to detectron2", "the network has the stem cifar: detectron2's ResNets"),
        ("{run} --to monodepth2", "the network has the stem cifar: monodepth2's ResNets"),
        ("{run} --to timm --which momentum", "holds no momentum network: set --which=online"),
        ("{run} --to timm --which head", "--which is head: timm has no room for a projector"),
        ("{run}/mere.pth --to solo", "--backbone is missing"),
        ("{run}/mere.pth --to solo --backbone resnet18", "set --stem=cifar"),
        (
            "{run}/mere.pth --to solo --which head --backbone resnet18 --stem cifar",
            "is of no method told, whose projector has no counterpart here; choose online",
        ),
        ("{run} --to timm --backbone resnet50", "--backbone is resnet50, but checkpoint"),
        ("{run} --to timm --out {run}/there.pth", "there.pth' exists: --force replaces files"),
        ("{run} --to solo --force --out {run}/last.ckpt", "is the checkpoint itself: give another"),
        ("{run} --to timm --out {run}", "a folder: give a file, e.g."),
        ("{run} --to solo --out a.pkl", "--out is 'a.pkl': solo reads files that end in .ckpt"),
        ("{run}/timm --to monodepth2 --out a.pth", "monodepth2 looks for encoder.pth"),
        ("{run} --to timm --no-filter", "--no-filter is for onnx: timm holds weights"),
        ("{run} --to timm --size 0", "'0' is no whole number of at least 1"),
    ],
)
def test_wrong_input_is_one_line_and_status_2(
    arguments: str,
    message: str,
    run: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    before = sorted(run.rglob("*"))
    with pytest.raises(SystemExit) as stop:
        call(monkeypatch, *arguments.format(run=run).split())
    assert stop.value.code == 2
    printed = capsys.readouterr()
    [line] = printed.err.strip().splitlines()
    assert line.startswith("mixmask-export: ")
    assert message in line
    assert not printed.out
    assert sorted(run.rglob("*")) == before


def test_what_a_killed_export_left_is_removed_by_a_later_one(
    run: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    for name, age in ((".export-old", 7200), (".export-new", 60)):
        (tmp_path / name).mkdir()
        (tmp_path / name / "a.pth").touch()
        os.utime(tmp_path / name, (time.time() - age,) * 2)
    call(monkeypatch, str(run), "--to", "timm", "--out", str(tmp_path / "a.pth"))
    assert sorted(path.name for path in tmp_path.iterdir()) == [".export-new", "a.pth"]


def test_a_termination_leaves_nothing_behind(
    run: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    def write(self: Any, source: Any, path: Path, place: Path) -> None:
        torch.save(source.weights, path)
        os.kill(os.getpid(), signal.SIGTERM)

    monkeypatch.setattr(Torchvision, "write", write)
    before = signal.getsignal(signal.SIGTERM)
    with pytest.raises(SystemExit) as stop:
        call(monkeypatch, str(run), "--to", "torchvision", "--out", str(tmp_path / "a.pth"))
    assert stop.value.code == 143
    assert capsys.readouterr().err == "mixmask-export: interrupted (SIGTERM)\n"
    assert not list(tmp_path.iterdir())
    assert signal.getsignal(signal.SIGTERM) == before


def _changed(self: Any, source: Any, path: Path, place: Path) -> None:
    weights = source.weights
    weights["layer4.1.bn2.weight"] *= 1.001
    torch.save(weights, path)


def _lacking(self: Any, source: Any, path: Path, place: Path) -> None:
    weights = source.weights
    del weights["layer4.1.bn2.weight"]
    torch.save({"state_dict": weights}, path)


@pytest.mark.parametrize(
    ("target", "wrong", "message"),
    [
        (Torchvision, _changed, "makes other features of the file than the checkpoint's network"),
        (Timm, _lacking, "cannot be loaded"),
    ],
)
def test_what_differs_is_not_kept(
    target: Any,
    wrong: Any,
    message: str,
    run: Path,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    monkeypatch.setattr(target, "write", wrong)
    name = target.__name__.lower()
    assert write.BY_NAME[name] is target
    with pytest.raises(SystemExit) as stop:
        call(monkeypatch, str(run), "--to", name, "--out", str(tmp_path / "a.pth"))
    assert stop.value.code == 1
    assert message in capsys.readouterr().err
    assert not list(tmp_path.iterdir())

# SPDX-License-Identifier: MIT
"""``benchmarks/gpu.py`` without a GPU: it says so, and its parts are run as far as the CPU goes."""

import importlib
import json
import sys
from collections.abc import Iterator
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
import torch
from PIL import Image

BENCHMARKS = Path(__file__).parents[2] / "benchmarks"
PARTS = ["tests", "sync", "pixels", "data", "step", "fed", "knn", "resume", "detect", "two"]
SMALL = {"accelerator": "cpu", "backbone": {"name": "resnet10t"}, "optimizer": {"batch_size": 16}}


@pytest.fixture(scope="module")
def scripts() -> Iterator[Any]:
    """The scripts by name, imported as beside each other."""
    before = dict(sys.modules)
    sys.path.insert(0, str(BENCHMARKS))
    names = ("gpu", "gpu_train", "gpu_input", "gpu_detect", "figures")
    yield SimpleNamespace(**{name: importlib.import_module(name) for name in names})
    sys.path.remove(str(BENCHMARKS))
    for name in set(sys.modules) - set(before):
        if str(BENCHMARKS) in str(getattr(sys.modules[name], "__file__", "")):
            del sys.modules[name]


@pytest.fixture(autouse=True)
def nowhere(monkeypatch: pytest.MonkeyPatch) -> None:
    """Also on a machine that has a GPU."""
    monkeypatch.setattr(torch.cuda, "is_available", lambda: False)
    monkeypatch.setenv("CUDA_VISIBLE_DEVICES", "")


def test_all_parts_are_what_is_asked_for_by_default(scripts: Any) -> None:
    assert list(scripts.gpu.PARTS) == scripts.gpu.parse([]).parts == PARTS
    assert scripts.gpu.parse(["knn", "sync", "knn"]).parts == ["knn", "sync"]


@pytest.mark.parametrize("part", PARTS)
def test_a_part_parses_and_refuses(
    scripts: Any, part: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    line = [part, "--data", str(tmp_path), "--images", "5", "--results", str(tmp_path / "new")]
    assert scripts.gpu.parse(line).parts == [part]
    assert scripts.gpu.main(line) == scripts.gpu.main([*line, "--inside", part]) == 2
    told = capsys.readouterr()
    assert set(told.err.splitlines()) == {
        "gpu.py: there is no CUDA device here, nothing was measured"
    }
    assert not told.out
    assert not list(tmp_path.iterdir())


def test_a_part_that_there_is_not(scripts: Any, capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit, match="2"):
        scripts.gpu.parse(["speed"])
    assert "'speed' is none of tests, sync, " in capsys.readouterr().err


@pytest.mark.parametrize(
    ("limit", "problem"), [(590, "ended with status 2"), (0.01, "stopped after 0.01 s")]
)
def test_a_part_that_fails_is_on_the_page(
    scripts: Any,
    limit: float,
    problem: str,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    monkeypatch.setattr(scripts.gpu, "LIMIT", limit)
    args = scripts.gpu.parse(["knn", "--results", str(tmp_path)])
    scripts.gpu.run("knn", args)  # its process finds no GPU
    assert json.loads((tmp_path / "gpu-knn.json").read_text())["problem"] == problem
    assert scripts.gpu.page(["knn"], tmp_path) == 1
    assert problem in capsys.readouterr().out


def test_the_page_holds_figures_against_their_targets(
    scripts: Any,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    figure, holds = scripts.figures.Figure, scripts.figures.holds
    found = [figure("fast", 0.93, 0.92), figure("gone", why="needs two GPUs"), holds("fine", "")]
    monkeypatch.setitem(scripts.gpu.PARTS, "step", lambda args: iter(found))
    args = scripts.gpu.parse(["--results", str(tmp_path)])
    scripts.gpu.inside("step", args)
    assert scripts.gpu.page(["step"], tmp_path) == 0
    found += [figure("slow", 0.90, 0.92), holds("whole", "it broke")]
    scripts.gpu.inside("step", args)
    capsys.readouterr()
    assert scripts.gpu.page(["step"], tmp_path) == 1
    rows = [line.split() for line in capsys.readouterr().out.splitlines()[2:]]
    assert [row[-1] for row in rows] == ["0.92", "GPUs", "1", "MISSED", "broke"]


def test_parts_that_need_images_say_so(scripts: Any, tmp_path: Path) -> None:
    for part in ("pixels", "data", "fed", "detect"):
        scripts.gpu.inside(part, scripts.gpu.parse(["--results", str(tmp_path)]))
        [figure] = json.loads((tmp_path / f"gpu-{part}.json").read_text())["figures"]
        assert figure["value"] is None
        assert figure["why"].startswith("give --data")


@pytest.mark.parametrize("method", ["mocov2", "byol"])
def test_a_run_is_watched_within_its_steps(scripts: Any, method: str) -> None:
    cfg = scripts.gpu_train.config(method, "mixmask_unmix", limit_val_batches=0, **SMALL)
    assert scripts.gpu_train.waiting(cfg) == ("", [2, 3, 4])


def test_what_waits_is_named_by_its_line(scripts: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    strict = scripts.gpu_train.Strict

    def refused(*_: Any) -> None:
        raise RuntimeError("called a synchronizing\nCUDA operation")

    monkeypatch.setattr(strict, "on_before_zero_grad", refused)
    problem, _ = scripts.gpu_train.waiting(scripts.gpu_train.config("simclr", "vanilla", **SMALL))
    assert problem.endswith(": called a synchronizing CUDA operation")


def test_waiting_is_an_error_in_those_steps_alone(
    scripts: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    modes: list[str] = []
    monkeypatch.setattr(torch.cuda, "set_sync_debug_mode", modes.append)
    strict, module = scripts.gpu_train.Strict(), SimpleNamespace(device=torch.device("cuda", 0))
    for number in range(7):
        strict.on_train_batch_start(None, module, None, number)
    assert modes == ["default"] * 2 + ["error"] * 3 + ["default"] * 2


def test_the_knn_part_on_the_cpu(scripts: Any) -> None:
    found = list(scripts.gpu_train.knn(None, images=600, queries=100, device="cpu"))
    assert len(found) == 6
    assert all(figure.value is not None for figure in found)


def test_a_key_that_the_schema_does_not_have_is_skipped(scripts: Any, tmp_path: Path) -> None:
    pytest.importorskip("nvidia.dali", reason="the extra dali is not installed")
    [figure] = scripts.gpu_input._rates(tmp_path, 4, {"lasers": 1}, "lasers")
    assert figure.value is None
    assert figure.why.startswith("unknown key dali.lasers")


def test_the_sample_is_repeated(scripts: Any, tmp_path: Path) -> None:
    for name in "ab":
        (tmp_path / name).mkdir()
        Image.new("RGB", (9, 8)).save(tmp_path / name / "0.jpg")
    with scripts.gpu_input.repeated(tmp_path, 5) as folder:
        files = sorted(str(file.relative_to(folder)) for file in folder.glob("*/*"))
        assert [Image.open(folder / file).size for file in files] == [(9, 8)] * 5
    assert files == ["a/0-0.jpg", "a/2-0.jpg", "a/4-0.jpg", "b/1-0.jpg", "b/3-0.jpg"]

# SPDX-License-Identifier: MIT
"""The page read as a browser reads it: what it says, what it would load, what it escapes."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest

from mixmask_solo.records.registry.record import RunRecord
from mixmask_solo.report.page.data import read
from mixmask_solo.report.page.render import Samples, page
from mixmask_solo.report.page.results import PaperCell, Table
from support.pages import Parsed, run_folder

EVIL = '</script><b onclick="x">&\'"{{ 7*7 }}'


def shown(*folders: Path, **more: object) -> Parsed:
    return Parsed(page(read(folders), **more))  # type: ignore[arg-type]


@pytest.mark.parametrize(
    "said",
    [
        "simclr · resnet18 · digits · 3 of 3 epochs · seed 1",
        "mixmask completed",
        "k-NN 81.00 % evaluation mode: last checkpoint, un-augmented images (k = 20",
        "online k-NN 71.00 % best 71.00 % in epoch 3 features of augmented views",
        "16 × 2 processes",
        "0.3 (backbone)",
        "scripts/pretrain/x/y",
        "overrides seed=1",
        "0123456789ab, with changes that are not committed",
        "machine node7",
        "torch 2.9.0",
        "device H100",
        "resumed once",
        "2. completed, 2026-01-02 03:01 UTC",
        "20 steps · 2,000 images · 40 images/s · training 50 s · all else 10 s",
        "grid_size 2",
    ],
)
def test_what_a_reader_looks_for_is_there(tmp_path: Path, said: str) -> None:
    assert said in shown(run_folder(tmp_path / "a")).text


def test_nothing_is_loaded_from_anywhere(tmp_path: Path) -> None:
    draw = samples_of("data:image/png;base64,AAAA")
    parsed = shown(run_folder(tmp_path / "a"), draw=draw)
    assert parsed.loads == ["data:,", "data:image/png;base64,AAAA"]
    assert not [style for style in parsed.styles if "url(" in style or "@import" in style]
    assert parsed.policy.startswith("default-src 'none'; ")
    assert "connect-src" not in parsed.policy
    assert parsed.open == []


def samples_of(address: str):
    rows = [{"label": "image", "color": "#123456", "framed": True, "smooth": False}]
    part = {"title": "mixmask", "rows": [{**rows[0], "images": [address]}], "captions": ["λ = 1"]}

    def draw(record: RunRecord) -> Samples:
        return Samples("", [part], "Drawn anew.")

    return draw


def test_what_runs_say_of_themselves_breaks_nothing(tmp_path: Path) -> None:
    folder = run_folder(
        tmp_path / "a", name=EVIL, status="failed", error=EVIL, blocks={"erase": {"fill": EVIL}}
    )
    other = run_folder(tmp_path / "b", name="other")
    note = Samples("", note=f"Not drawn: {EVIL}")
    for parsed in (shown(folder, draw=lambda _: note), shown(folder, other, draw=lambda _: note)):
        assert parsed.text.count(EVIL) >= 4
        assert parsed.tags.count("script") == 3
        assert parsed.open == []
    labels = [curve["label"] for chart in parsed.data["charts"] for curve in chart["curves"]]
    assert EVIL in labels


def test_several_runs_are_compared(tmp_path: Path) -> None:
    seeds = [run_folder(tmp_path / str(seed), seed=seed) for seed in (1, 2)]
    text = shown(*seeds, run_folder(tmp_path / "c", name="simclr", blocks={}, seed=1)).text
    assert "3 runs in 2 groups" in text
    assert "simclr-mixmask 81.50 ± 0.71 % 71.50 ± 0.71 % 40.00 ± 0.00 % 0.0800 1, 2 3" in text
    assert "mean ± sample standard deviation" in text
    assert "a band from the lowest to the highest" in text
    assert "method_kwargs.mixmask grid_size 2, prob 1 –" in text


def test_cells_of_the_paper_and_further_tables_are_sections(tmp_path: Path) -> None:
    cell = PaperCell("MoCo V2 + MixMask", "top-1", 69.25, 69.1, 0.2, 3, "Table 1")
    empty = PaperCell("BYOL", "top-1", None, None, None, 0)
    table = Table("Corruptions", ["kind", "error"], [["fog", "31.0"]], ["mean of 5 levels"])
    text = shown(run_folder(tmp_path / "a"), cells=[cell, empty], tables=[table]).text
    assert "MoCo V2 + MixMask top-1 69.25 69.10 ± 0.20 3 Table 1" in text
    assert "BYOL top-1 – – 0" in text
    assert "Corruptions kind error fog 31.0 mean of 5 levels" in text


@pytest.mark.parametrize("status", ["running", "interrupted", "failed"])
def test_every_state_is_told(tmp_path: Path, status: str) -> None:
    error = {"error": "NonFiniteLoss: in epoch 2"} if status == "failed" else {}
    folder = run_folder(tmp_path / "a", status=status, knn=None, metrics={}, **error)
    text = shown(folder).text
    wanted = {"running": "died", "failed": "diverged: NonFiniteLoss: in epoch 2"}
    assert wanted.get(status, status) in text


def test_a_collapse_is_told_and_its_rank_shown(tmp_path: Path) -> None:
    note = {"kind": "collapsed", "epoch": 1, "until": None, "std": 1e-4, "rank": 1.0}
    measured = {"train_embedding_std": 1e-4, "train_embedding_rank": 1.04}
    folder = run_folder(tmp_path / "a", metrics=measured, collapse=note)
    columns = "step,epoch,train_embedding_rank,train_embedding_uniformity,train_embedding_alignment"
    (folder / "metrics.csv").write_text(f"{columns}\n9,0,60.0,-2.5,0.7\n19,1,1.04,-0.01,0.0\n")
    parsed = shown(folder)
    assert "collapsed from epoch 2 (a heuristic)" in parsed.text
    assert "embedding rank 1.0" in parsed.text
    found = {chart["title"]: chart for chart in parsed.data["charts"]}
    assert found["effective rank of the embedding (1 = collapse)"]["curves"][0]["y"] == [60.0, 1.04]
    both = found["uniformity and alignment"]["curves"]
    assert [c["label"] for c in both] == ["alignment of z, both views", "uniformity of z, view 1"]


def test_a_run_that_measured_nothing_has_a_page(tmp_path: Path) -> None:
    folder = tmp_path / "a"
    folder.mkdir()
    (folder / "result.json").write_text('{"status": "failed", "config": null}')
    parsed = shown(folder)
    assert "Nothing has been measured yet." in parsed.text
    assert parsed.data["charts"] == []


def test_ten_long_runs_stay_below_five_megabytes(tmp_path: Path) -> None:
    folders = [
        run_folder(tmp_path / f"{i}", name=f"run{i}", epochs=1000, every=1) for i in range(10)
    ]
    assert len(page(read(folders)).encode()) < 5e6


def test_torch_is_not_loaded_for_it(tmp_path: Path) -> None:
    folder = run_folder(tmp_path / "a")
    arguments = [str(folder), "--no-samples", "--out", str(tmp_path / "r.html")]
    code = f"import sys; sys.argv = ['x', *{arguments!r}]; from mixmask_solo.cli import report; "
    code += "report.main(); print('torch' in sys.modules, 'matplotlib' in sys.modules)"
    out = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert out.stdout.splitlines()[-1] == "False False"

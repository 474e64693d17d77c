# SPDX-License-Identifier: MIT
"""Curves from sparse, incomplete and resumed metrics."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
from matplotlib.figure import Figure
from matplotlib.image import imread

from mixmask_solo.report.curves import curves, read_metrics
from mixmask_solo.report.grid import save

RUN = """epoch,step,train_nce_loss_step,train_nce_loss_epoch,train_mixmask_loss_epoch,\
train_mixture_loss_epoch,train_mixmask_lam_epoch,train_embedding_std_epoch,val_knn_acc1,lr-SGD
0,0,9.0,,,,,,,0.1
0,1,8.0,,,,,,,
0,1,,8.5,4.0,4.0,0.5,0.08,,
0,1,,,,,,,31.5,
1,3,7.0,,,,,,,
1,3,,7.5,3.0,3.0,0.4,0.09,,
"""
FEW = """epoch,step,train_nce_loss_step,val_knn_acc1
1,3,6.5,
2,4,6.0,40.0
"""


@pytest.fixture
def drawn(monkeypatch: pytest.MonkeyPatch) -> list[Figure]:
    """Every figure that was saved."""
    figures: list[Figure] = []
    own = Figure.savefig

    def savefig(self: Figure, *args: Any, **kwargs: Any) -> None:
        figures.append(self)
        own(self, *args, **kwargs)

    monkeypatch.setattr(Figure, "savefig", savefig)
    return figures


def write(folder: Path, name: str, text: str) -> Path:
    path = folder / name
    path.write_text(text)
    return path


def test_panels_series_and_values(tmp_path: Path, drawn: list[Figure]) -> None:
    path = curves({"a run": write(tmp_path, "metrics.csv", RUN)}, tmp_path / "curves.png")
    assert imread(path).shape[:2] == (860, 1600)
    [figure] = drawn
    assert figure.get_suptitle() == "a run"
    panels = {axes.get_title(loc="left"): axes for axes in figure.axes}
    assert len(panels) == 4
    losses = {
        line.get_label(): dict(zip(line.get_xdata(), line.get_ydata(), strict=True))
        for line in panels["loss terms"].lines
        if not line.get_label().startswith("_")
    }
    # The only mixture's loss is the sum of all mixtures': it is drawn once.
    assert losses == {"method": {1: 8.5, 3: 7.5}, "mixmask": {1: 4.0, 3: 3.0}}
    faint = panels["loss terms"].lines[0]
    assert list(faint.get_ydata()) == [9.0, 8.0, 7.0]
    assert panels["own share λ"].get_ylim() == (0, 1)
    assert panels["spread of the embedding (0 = collapse)"].get_ylim()[0] == 0


def test_a_resumed_run_is_one_curve(tmp_path: Path) -> None:
    again = "1,3,6.5,,,,,,,\n2,4,6.0,,,,,,40.0,\n"
    columns = read_metrics(write(tmp_path, "metrics.csv", RUN + again))
    assert columns["train_nce_loss_step"] == {0: 9.0, 1: 8.0, 3: 6.5, 4: 6.0}
    assert columns["val_knn_acc1"] == {1: 31.5, 4: 40.0}


def test_missing_columns_leave_panels_out(tmp_path: Path, drawn: list[Figure]) -> None:
    curves({"a": write(tmp_path, "1.csv", FEW)}, tmp_path / "curves.png")
    [figure] = drawn
    assert [axes.get_title(loc="left") for axes in figure.axes] == ["loss terms", "accuracy in %"]
    [line] = [line for line in figure.axes[0].lines if not line.get_label().startswith("_")]
    assert list(line.get_ydata()) == [6.5, 6.0]  # no means over epochs: steps instead


@pytest.mark.parametrize("text", ["epoch,step,lr\n0,0,0.1\n", "epoch,step\n", ""])
def test_nothing_to_draw_is_said(tmp_path: Path, text: str) -> None:
    file = write(tmp_path, "metrics.csv", text)
    with pytest.raises(ValueError, match=r"nothing to draw in .*metrics\.csv"):
        curves({"a": file}, tmp_path / "curves.png")


def test_a_share_that_never_changes_is_a_number(tmp_path: Path, drawn: list[Figure]) -> None:
    text = RUN.replace(",0.4,", ",0.5,")
    curves({"a": write(tmp_path, "metrics.csv", text)}, tmp_path / "curves.png")
    [figure] = drawn
    assert not [axes for axes in figure.axes if "λ" in axes.get_title(loc="left")]
    [note] = figure.texts[1:]
    assert note.get_text() == "λ of mixmask 0.5 · bold: mean over an epoch; faint: single steps"


def test_several_runs_lie_over_each_other_and_are_told_apart(
    tmp_path: Path, drawn: list[Figure]
) -> None:
    names = [f"simclr-mixmask-grid_size-{g}-seed-5-20261126-171750-33358c" for g in (2, 4)]
    files = {name: write(tmp_path, f"{name}.csv", RUN) for name in names}
    curves(files, tmp_path / "curves.png")
    [figure] = drawn
    assert figure.get_suptitle() == "2 runs of simclr-mixmask-grid_size-seed-5"
    loss = figure.axes[0]
    assert [line.get_ydata().tolist() for line in loss.lines[1::2]] == [[8.5, 7.5]] * 2
    [legend] = figure.legends
    assert [text.get_text() for text in legend.texts] == ["grid_size 2", "grid_size 4"]


def test_a_picture_that_cannot_be_drawn_leaves_the_earlier_one(tmp_path: Path) -> None:
    out = tmp_path / "curves.nothing"
    out.write_text("earlier")
    with pytest.raises(ValueError, match="nothing"):
        save(Figure(), out)
    assert [(p.name, p.read_text()) for p in tmp_path.iterdir()] == [(out.name, "earlier")]

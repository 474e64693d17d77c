# SPDX-License-Identifier: MIT
"""Curves from sparse, incomplete and resumed metrics."""

from __future__ import annotations

from pathlib import Path

import pytest
from matplotlib.figure import Figure
from matplotlib.image import imread

from mixmask_solo.report.curves import curves, read_metrics

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
    save = Figure.savefig

    def savefig(self: Figure, path: Path) -> None:
        figures.append(self)
        save(self, path)

    monkeypatch.setattr(Figure, "savefig", savefig)
    return figures


def write(folder: Path, name: str, text: str) -> Path:
    path = folder / name
    path.write_text(text)
    return path


def test_panels_series_and_values(tmp_path: Path, drawn: list[Figure]) -> None:
    path = curves(write(tmp_path, "metrics.csv", RUN), tmp_path / "curves.png")
    assert imread(path).shape[:2] == (800, 1600)
    [figure] = drawn
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
    curves(write(tmp_path, "1.csv", FEW), tmp_path / "curves.png")
    [figure] = drawn
    assert [axes.get_title(loc="left") for axes in figure.axes] == ["loss terms", "accuracy in %"]
    [line] = [line for line in figure.axes[0].lines if not line.get_label().startswith("_")]
    assert list(line.get_ydata()) == [6.5, 6.0]  # no means over epochs: steps instead


@pytest.mark.parametrize("text", ["epoch,step,lr\n0,0,0.1\n", "epoch,step\n", ""])
def test_nothing_to_draw_is_said(tmp_path: Path, text: str) -> None:
    file = write(tmp_path, "metrics.csv", text)
    with pytest.raises(ValueError, match=r"nothing to draw in .*metrics\.csv"):
        curves(file, tmp_path / "curves.png")

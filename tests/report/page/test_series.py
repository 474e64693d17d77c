# SPDX-License-Identifier: MIT
"""Numbers of the curves: thinned without losing an extreme, repetitions as mean and band."""

from __future__ import annotations

import math
from pathlib import Path

import pytest

from mixmask_solo.report.page.data import groups, read
from mixmask_solo.report.page.series import LIMIT, Curve, as_json, charts, thin
from support.pages import run_folder, wave


@pytest.mark.parametrize("count", [1001, 2500, 100_003])
def test_thinning_keeps_ends_order_and_extremes(count: int) -> None:
    points = wave(count)
    kept = thin(points)
    assert len(kept) <= LIMIT
    assert set(kept) <= set(points)
    assert [x for x, _ in kept] == sorted(x for x, _ in kept)
    assert (kept[0], kept[-1]) == (points[0], points[-1])
    assert {max(y for _, y in kept), min(y for _, y in kept)} == {7.0, -7.0}


def test_few_points_stay_and_what_is_not_finite_hides_nothing() -> None:
    assert thin(wave(LIMIT)) == wave(LIMIT)
    points = wave(5000)
    points[1700] = (1700.0, math.nan)
    assert 7.0 in [y for _, y in thin(points)]


def test_one_run_has_its_terms_with_steps_behind_the_means_by_epochs(tmp_path: Path) -> None:
    made, _ = charts(groups(read([run_folder(tmp_path / "a")])))
    of = {chart.title: chart for chart in made}
    assert list(of)[:2] == ["accuracy in %", "loss terms"]
    [loss] = of["loss terms"].curves
    assert loss.points == [(1.0, 9.0), (2.0, 4.5), (3.0, 3.0)]  # x counts epochs that are done
    assert [x for x, _ in loss.steps] == [0.1, 0.6, 1.1, 1.6, 2.1, 2.6]
    assert of["accuracy in %"].curves[0].label == "online k-NN, held out"
    assert of["loss terms"].spoken.startswith("loss terms by epoch. sum: 9 to 3.")


def test_runs_of_other_seeds_are_a_mean_with_its_band(tmp_path: Path) -> None:
    folders = [run_folder(tmp_path / str(seed), seed=seed) for seed in (1, 3)]
    folders.append(run_folder(tmp_path / "plain", name="simclr", blocks={}, epochs=2))
    made, _ = charts(groups(read(folders)))
    [knn] = [chart for chart in made if "k-NN" in chart.title]
    mean, other = knn.curves
    assert mean.label == "simclr-mixmask (mean of 2)"
    assert mean.points == [(1.0, 52.0), (2.0, 62.0), (3.0, 72.0)]
    assert (mean.low, mean.high) == ([51.0, 61.0, 71.0], [53.0, 63.0, 73.0])
    assert (other.points, other.low) == ([(1.0, 51.0), (2.0, 61.0)], [])


def test_equal_x_are_stored_once_and_what_is_not_finite_is_null(tmp_path: Path) -> None:
    made, _ = charts(groups(read([run_folder(tmp_path / "a")])))
    chart = made[0]
    curve = Curve("b", 1, [(1.0, math.inf), (2.0, math.nan), (3.0, 1 / 3)])
    told = as_json([*made, type(chart)("odd", "epoch", [curve])])
    assert told["charts"][-1]["curves"][0]["y"] == [None, None, 0.33333]
    assert told["x"].count([1.0, 2.0, 3.0]) == 1


def test_long_series_of_steps_are_thinned_and_epochs_are_not(tmp_path: Path) -> None:
    folder = run_folder(tmp_path / "a", epochs=1500, every=2)
    made, _ = charts(groups(read([folder])))
    [loss] = next(chart for chart in made if chart.title == "loss terms").curves
    [rate] = next(chart for chart in made if chart.title == "learning rate").curves
    assert (len(loss.points), len(loss.steps), len(rate.points)) == (1500, LIMIT, LIMIT)

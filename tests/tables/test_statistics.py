# SPDX-License-Identifier: MIT
"""Mean, deviation and interval, against SciPy."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import assume, given
from hypothesis import strategies as st
from scipy import stats

from mixmask_solo.tables.statistics import summary

FIGURES = st.lists(st.floats(0, 100), min_size=2, max_size=12)


@given(FIGURES, st.floats(0, 100))
def test_a_summary_is_scipys(values: list[float], paper: float) -> None:
    found = summary(values)
    assert found is not None
    assert found.n == len(values)
    assert found.mean == pytest.approx(np.mean(values), abs=1e-9)
    assert found.std == pytest.approx(np.std(values, ddof=1), abs=1e-9)
    assert found.difference(paper) == pytest.approx(np.mean(values) - paper, abs=1e-9)
    assume(np.std(values) > 1e-3)
    wanted = stats.ttest_1samp(values, paper).confidence_interval(0.95)
    interval = found.interval(paper)
    assert interval is not None
    assert interval == pytest.approx((wanted.low - paper, wanted.high - paper), abs=1e-6)


def test_one_run_has_no_deviation_and_no_interval() -> None:
    found = summary([70.5])
    assert found is not None
    assert (found.mean, found.std, found.n, found.interval(70.0)) == (70.5, None, 1, None)
    assert found.difference(70.0) == 0.5
    assert summary([]) is None


def test_without_a_published_figure_there_is_no_difference() -> None:
    found = summary([70.5, 71.5])
    assert found is not None
    assert found.difference(None) is None
    assert found.interval(None) is None

# SPDX-License-Identifier: MIT
"""What repeated runs say about a published figure."""

import math
import statistics
from collections.abc import Sequence
from dataclasses import dataclass

from scipy.stats import t

LEVEL = 0.95


@dataclass(frozen=True)
class Summary:
    """Figures of ``n`` runs. ``std`` is the sample's (n - 1), None for fewer than two runs."""

    mean: float
    std: float | None
    n: int
    low: float | None = None  # of the mean, two-sided, by Student's t
    high: float | None = None

    def difference(self, paper: float | None) -> float | None:
        """Ours minus the paper's."""
        return None if paper is None else self.mean - paper

    def interval(self, paper: float | None) -> tuple[float, float] | None:
        """Of the difference, the paper's figure taken as it stands: it has no deviation."""
        if paper is None or self.low is None or self.high is None:
            return None
        return self.low - paper, self.high - paper


def summary(values: Sequence[float]) -> Summary | None:
    """Mean, sample deviation and the mean's two-sided 95 % interval; None without values."""
    n = len(values)
    if not n:
        return None
    mean = statistics.fmean(values)
    if n == 1:
        return Summary(mean, None, 1)
    std = statistics.stdev(values)
    half = float(t.ppf((1 + LEVEL) / 2, n - 1)) * std / math.sqrt(n)
    return Summary(mean, std, n, mean - half, mean + half)

# SPDX-License-Identifier: MIT
"""What a part of ``gpu.py`` has measured."""

from dataclasses import dataclass, field
from typing import Any


@dataclass
class Figure:
    """One number, or why there is none.

    Attributes:
        what: was measured.
        value: None where it could not be; ``why`` says so then.
        least: the target, if any. What either holds or not is 1 or 0, with the target 1.
        more: what the number was made of.
    """

    what: str
    value: float | None = None
    least: float | None = None
    why: str = ""
    more: dict[str, Any] = field(default_factory=dict)

    @property
    def missed(self) -> bool:
        """Whether it was measured and is too low, to two digits."""
        return self.value is not None and self.least is not None and self.value < self.least - 0.005

    def line(self) -> str:
        """For the page."""
        value = "not measured" if self.value is None else f"{self.value:,.2f}"
        target = "" if self.least is None else f">= {self.least:,g}"
        verdict = f"{'MISSED ' * self.missed}{self.why}"
        return f"  {self.what:58} {value:>12}  {target:>9}  {verdict}".rstrip()


def holds(what: str, problem: str) -> Figure:
    """A fact that holds where there is no problem."""
    return Figure(what, float(not problem), 1.0, problem)

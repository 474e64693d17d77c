# SPDX-License-Identifier: MIT
"""What people look at: tables, pictures, curves."""

from collections.abc import Sequence


def columns(lines: Sequence[Sequence[str]], right: Sequence[int] = ()) -> str:
    """Lines of cells under each other, the columns of numbers (counted from 0) to the right."""
    widths = [max(map(len, column)) for column in zip(*lines, strict=True)]
    cells = [f"{{:{'>' if i in right else '<'}{width}}}" for i, width in enumerate(widths)]
    form = "  ".join(cells)
    return "\n".join(form.format(*line).rstrip() for line in lines)

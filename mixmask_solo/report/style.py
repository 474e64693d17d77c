# SPDX-License-Identifier: MIT
"""How all pictures look."""

from typing import Any

DPI = 100
INK = "#1f2933"
FAINT = "#7b8794"
# Own pixels first, the partner's second; told apart with every kind of colour blindness.
COLORS = ("#2563a8", "#e08a1e", "#3a9a6b", "#b0478c", "#6b7280", "#8c564b")

RC: Any = {  # matplotlib types it by key since 3.11, by str before
    "font.family": "DejaVu Sans",
    "text.color": INK,
    "axes.edgecolor": "#c3cad3",
    "axes.labelcolor": INK,
    "axes.titlecolor": INK,
    "xtick.color": FAINT,
    "ytick.color": FAINT,
    "figure.facecolor": "white",
    "savefig.facecolor": "white",
}

# SPDX-License-Identifier: MIT
"""The colours of everything that is drawn; loads nothing."""

INK = "#1f2933"
FAINT = "#7b8794"
# Own pixels first, the partner's second; told apart with every kind of colour blindness.
COLORS = ("#2563a8", "#e08a1e", "#3a9a6b", "#b0478c", "#6b7280", "#8c564b")


def lighter(color: str, share: float) -> str:
    """``#rrggbb`` with that share of white, as it has to be on a dark ground."""
    parts = (int(color[at : at + 2], 16) for at in (1, 3, 5))
    return "#" + "".join(f"{round(part + (255 - part) * share):02x}" for part in parts)

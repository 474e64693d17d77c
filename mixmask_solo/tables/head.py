# SPDX-License-Identifier: MIT
"""The head of a recipe, by its labels: command, cost, outcome, choices."""

from pathlib import Path


def head_of(file: Path) -> dict[str, str]:
    """The sections of a recipe's head by label; ``""`` is what it says first."""
    sections: dict[str, str] = {"": ""}
    label = ""
    for line in file.read_text().splitlines():
        if not line.startswith("#"):
            break
        if line[2:11].strip().endswith(":") and line[2] != " ":
            label = line[2:11].strip().rstrip(":")
            sections[label] = ""
        sections[label] += line[11:] + "\n"
    return sections

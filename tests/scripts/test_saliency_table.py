# SPDX-License-Identifier: MIT
"""scripts/README.md's table of saliency-guided masking: commands validate, heads agree."""

from __future__ import annotations

import re
import shlex
from pathlib import Path
from typing import Any

import pytest

from mixmask_solo.cli.compose import compose
from mixmask_solo.config import resolve_linear
from support.heads import head_of

SCRIPTS = Path(__file__).parents[2] / "scripts"
TEXT = (SCRIPTS / "README.md").read_text().split("## Saliency-guided masking, its Table 1")[1]
SECTION = TEXT.split("\n## ")[0]
COLUMNS = {"MoCo v2": "mocov2", "SimCLR": "simclr"}
TABLE = [
    [cell.strip(" *`") for cell in line.strip("| ").split(" | ")]
    for line in SECTION.splitlines()
    if line.startswith("| ") and "---" not in line
][1:]
ROWS = [
    (
        column,
        name,
        {"the same": row[1], "nothing": ""}.get(row[1 + i], row[1 + i]),
        float(row[3 + i]),
    )
    for row in TABLE
    for i, (column, name) in enumerate(COLUMNS.items())
]


def commands(column: str) -> list[list[str]]:
    (block,) = re.findall(r"```bash\n(.*?)```", SECTION, flags=re.S)
    part = block.split(f"# {column}\n")[1].split("\n\n")[0]
    return [shlex.split(line) for line in part.replace("\\\n", " ").strip().splitlines()]


def test_no_figure_is_missing() -> None:
    assert [value for *_, value in ROWS] == [
        *(68.22, 69.77, 70.28, 77.18, 62.76, 71.12, 73.8, 77.9, 72.5, 77.78, 70.84, 77.36)
    ]


@pytest.mark.parametrize(("column", "name", "row", "value"), ROWS)
def test_a_row_trains_and_is_measured(
    column: str, name: str, row: str, value: float, recipe: Any
) -> None:
    train, measure = commands(column)
    assert train == [
        *("mixmask-pretrain", "--config-path", "scripts/pretrain/imagenet-100"),
        *("--config-name", f"{name}ROW"),
    ]
    file, *overrides = f"{name}{' ' * row.startswith('+')}{row}".split()
    cfg = recipe("imagenet-100", file, *overrides)
    assert (cfg.method, cfg.backbone.name, cfg.max_epochs) == (name, "resnet50", 200)
    adios = "adios" in row  # its rows are the vanilla recipes with a block
    assert cfg.method_kwargs.get("adios", {}).get("slots") == (6 if adios else None)
    fill = overrides[0].rpartition("=")[2] if overrides and not adios else "high_pass"
    assert cfg.method_kwargs.get("saliency", {"fill": "high_pass"})["fill"] == fill
    batch = cfg.optimizer.batch_size * len(cfg.devices)
    rates = {"mocov2": (128, 0.015, "sgd"), "simclr": (256, 0.3, "lars")}
    assert (batch, pytest.approx(cfg.optimizer.lr), cfg.optimizer.name) == rates[name]
    head = head_of(SCRIPTS / "pretrain" / "imagenet-100" / f"{file}.yaml")["Outcome"]
    assert adios or f"{value:.1f} %" in " ".join(head.split())
    folder, _, config, *more = measure[2:]
    probe = compose(str(SCRIPTS.parent / folder), config, more)
    linear = resolve_linear(probe, trainer_keys={"probe"})
    assert linear.backbone.name == "resnet50"
    settings = (linear.optimizer.lr, linear.scheduler.name, linear.max_epochs)
    wanted = {"mocov2": (30.0, "step", 100), "simclr": (1.0, "cosine", 100)}
    assert settings == wanted[name]

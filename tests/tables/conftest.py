# SPDX-License-Identifier: MIT
"""A table of digits, and runs of its cells as their folders would tell them."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from mixmask_solo.cli.compose import compose
from mixmask_solo.runs.linear import resolve_unread
from mixmask_solo.runs.pretrain import resolve
from mixmask_solo.tables.schema import Sheet, read_table
from mixmask_solo.tables.training import Training
from mixmask_solo.tables.work import trainings
from support.tables import TEXT, Folder


@pytest.fixture(scope="session")
def sheet(tmp_path_factory: pytest.TempPathFactory) -> Sheet:
    file = tmp_path_factory.mktemp("tables") / "digits.yaml"
    file.write_text(TEXT)
    return read_table(file)


@pytest.fixture
def plan(sheet: Sheet) -> Callable[..., list[Training]]:
    """``plan(seeds=(0,), scale=0.5, site={...})`` of the table's cells, or of ``cells``."""

    def made(seeds: Any = (0,), cells: Any = None, **more: Any) -> list[Training]:
        return trainings(
            sheet.cells if cells is None else cells,
            seeds,
            compose=compose,
            resolve=lambda cfg: resolve(cfg, here=False),
            resolve_probe=resolve_unread,
            **more,
        )

    return made


@pytest.fixture
def folder(tmp_path: Path) -> Folder:
    return Folder(tmp_path)

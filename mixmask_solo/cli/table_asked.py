# SPDX-License-Identifier: MIT
"""The trainings that a command line of ``mixmask-tables`` means, and the runs there are."""

import sys
from collections.abc import Iterator, Mapping
from functools import cache
from pathlib import Path
from typing import Any

from mixmask_solo.cli.compose import compose
from mixmask_solo.config import ConfigError
from mixmask_solo.records.registry.record import RunRecord, read_run
from mixmask_solo.runs.linear import resolve_unread
from mixmask_solo.runs.pretrain import resolve
from mixmask_solo.tables.match import Runs
from mixmask_solo.tables.work import Training, trainings, why_not

COMMAND = "mixmask-tables"


def planned(
    asked: Any,
    *,
    processes: int | None = None,
    seeds: Any = None,
    wrong: dict[str, str] | None = None,
) -> list[Training]:
    @cache
    def composed(folder: str, name: str, overrides: tuple[str, ...]) -> Any:
        return compose(folder, name, overrides)

    return trainings(
        asked.cells,
        asked.args.seeds if seeds is None else seeds,
        compose=lambda folder, name, overrides: composed(folder, name, tuple(overrides)),
        resolve=lambda cfg: resolve(cfg, here=False),
        resolve_probe=resolve_unread,
        scale=asked.args.scale,
        site=asked.site,
        processes=processes,
        wrong=wrong,
    )


def left_out(asked: Any, wrong: Mapping[str, str]) -> list[str]:
    """Cells that cannot be run here, those of one reason together."""
    told: dict[str, list[str]] = {}
    for cell in asked.cells:
        if reason := why_not(cell.protocol) or wrong.get(cell.id):
            told.setdefault(reason, []).append(f"{cell.row}, {cell.column}")
    return [f"left out {'; '.join(cells)}: {reason}" for reason, cells in told.items()]


def _scan(root: Path) -> Iterator[RunRecord]:
    for file in sorted(root.rglob("result.json")):
        try:
            yield read_run(file.parent)
        except ConfigError as error:
            print(f"{COMMAND}: {error}; passed over", file=sys.stderr)


def runs_of(asked: Any) -> Runs:
    folder: Path = asked.args.runs
    return Runs(_scan(folder) if folder.is_dir() else ())

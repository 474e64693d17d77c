# SPDX-License-Identifier: MIT
"""The trainings that a command line of ``mixmask-tables`` means, and the runs there are."""

import sys
from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from functools import cache, partial
from pathlib import Path
from typing import Any

import yaml

from mixmask_solo.cli.compose import compose
from mixmask_solo.config import ConfigError, require_known
from mixmask_solo.records.registry.record import RunRecord, read_run
from mixmask_solo.records.registry.scan import scan
from mixmask_solo.runs import detect, finetune, linear
from mixmask_solo.runs.pretrain import resolve
from mixmask_solo.screen import track
from mixmask_solo.tables.find import choose, find_table, names
from mixmask_solo.tables.match import Runs
from mixmask_solo.tables.schema import Sheet
from mixmask_solo.tables.training import Training
from mixmask_solo.tables.work import trainings

COMMAND = "mixmask-tables"
_OWN = {
    "seed": "from --seeds",
    "checkpoint.dir": "from --runs",
    "optimizer.batch_size": "so that the global batch is the recipe's",
    "resume_from_checkpoint": "where a run goes on",
    "pretrained_feature_extractor": "to the run that is probed",
    "scale": "from --scale",
}


class Asked:
    """A table, and what is asked of it."""

    def __init__(self, sheet: Sheet, args: Any) -> None:
        self.sheet, self.args = sheet, args
        self.cells = choose(sheet, args.datasets, args.rows, args.columns)
        self.site = _read_site(args.site, args.overrides, sheet)


def _read_site(file: Path | None, overrides: Sequence[str], sheet: Sheet) -> dict[str, list[str]]:
    """Overrides by data set, those of the command line last."""
    for word in overrides:
        if "=" not in word:
            raise ConfigError(f"'{word}' is no override: give key=value")
    for word in overrides:
        _refuse_own(word)
    given: Any = {}
    if file is not None:
        try:
            given = yaml.safe_load(file.read_text("utf-8")) or {}
        except OSError as error:
            raise ConfigError(f"--site {file} cannot be read: {error.strerror}") from None
        except (UnicodeDecodeError, yaml.YAMLError) as error:
            told = " ".join(str(error).split())
            raise ConfigError(f"--site {file} cannot be read: {told}") from None
    lists = isinstance(given, dict) and all(isinstance(v, list) for v in given.values())
    if not lists:
        raise ConfigError(f"--site {file}: give lists of overrides by data set, or under `all`")
    known = {"all", *sheet.datasets}
    for name in given:
        if name not in known and name not in _datasets():
            require_known(f"a key of --site {file}", name, sorted(known))
    site = {name: [str(word) for word in words] for name, words in given.items()}
    for words in site.values():
        for word in words:
            _refuse_own(word)
    site["all"] = [*site.get("all", []), *overrides]
    return site


def _refuse_own(word: str) -> None:
    key = word.lstrip("+~").partition("=")[0]
    if key in _OWN:
        raise ConfigError(f"{word}: {COMMAND} sets {key} itself, {_OWN[key]}")


def _datasets() -> set[str]:
    """Of all tables: one file of a site serves them all."""
    return {dataset for name in names() for dataset in find_table(name).datasets}


def planned(
    asked: Asked,
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
        resolve_probe=linear.resolve_unread,
        others={
            "mixmask-finetune": finetune.resolve_unread,
            "mixmask-detect": detect.resolve_unread,
        },
        scale=asked.args.scale,
        site=asked.site,
        processes=processes,
        wrong=wrong,
        watch=partial(track, label="composing recipes"),
    )


def left_out(asked: Asked, wrong: Mapping[str, str]) -> list[str]:
    """Cells that cannot be run here, those of one reason together."""
    told: dict[str, dict[str, list[str]]] = {}
    asked_of = Counter(cell.row for cell in asked.cells)
    for cell in asked.cells:
        if reason := wrong.get(cell.id):
            told.setdefault(reason, {}).setdefault(cell.row, []).append(cell.column)
    return [
        f"left out {'; '.join(_row(row, columns, asked_of[row]) for row, columns in rows.items())}"
        f": {reason}"
        for reason, rows in told.items()
    ]


def _row(row: str, columns: Sequence[str], asked: int) -> str:
    """Its cells by their columns; those of a whole row by their number."""
    if asked == len(columns) > 1:
        return f"{row}, all {asked} columns"
    return "; ".join(f"{row}, {column}" for column in columns)


def records(root: Path) -> Iterator[RunRecord]:
    """All runs below a folder; a damaged one is told and passed over."""
    for name, _ in scan(root):
        try:
            yield read_run(root / name)
        except ConfigError as error:
            print(f"{COMMAND}: {error}; passed over", file=sys.stderr)


def runs_of(asked: Asked) -> Runs:
    folder: Path = asked.args.runs
    return Runs(records(folder) if folder.is_dir() else ())

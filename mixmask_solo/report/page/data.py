# SPDX-License-Identifier: MIT
"""Runs as a page shows them: record, metrics, and which of them differ in their seed alone."""

import json
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, TypeVar

from mixmask_solo.config import ConfigError
from mixmask_solo.records.registry.record import METRICS, RESULT, RunRecord, read_run
from mixmask_solo.report.metrics import Series, read_metrics

Made = TypeVar("Made")
_DAMAGE = (AttributeError, LookupError, TypeError, ValueError, ArithmeticError)
# Where a run lies and how it is watched: two runs that differ in these alone are repetitions.
_PLACE = ("checkpoint", "resume_from_checkpoint", "auto_resume", "wandb", "report")


@dataclass(frozen=True)
class PageRun:
    """One run; ``per_epoch`` are the steps of an epoch, None where nothing tells them."""

    record: RunRecord
    columns: dict[str, Series]
    per_epoch: float | None

    @property
    def name(self) -> str:
        """What the user called it."""
        return str(self.record.config.get("name") or self.record.name)

    @property
    def seed(self) -> Any:
        return self.record.config.get("seed")

    def settings(self) -> dict[str, Any]:
        """Configuration by full key, without the seed and where the run lies."""
        config = {k: v for k, v in self.record.config.items() if k not in (*_PLACE, "seed")}
        return dict(_flat(config, ""))


@dataclass(frozen=True)
class Group:
    """Runs that differ in their seed alone; ``color`` is a place in the page's colours."""

    label: str
    runs: Sequence[PageRun]
    color: int

    @property
    def seeds(self) -> str:
        seeds = sorted({str(run.seed) for run in self.runs}, key=lambda s: (len(s), s))
        return f"seed{'s' * (len(seeds) > 1)} {', '.join(seeds)}"


def read(folders: Sequence[Path]) -> list[PageRun]:
    """The runs in folders, in their order.

    Raises:
        ConfigError: for a folder that is no run, a damaged file (named), a run given twice.
    """
    runs = [_read(folder) for folder in folders]
    places: set[Path] = set()
    by_id: dict[str, list[PageRun]] = {}
    for run in runs:
        here, place = run.record.folder, run.record.folder.resolve()
        if place in places:
            raise ConfigError(f"{here} is given twice: give each run once")
        places.add(place)
        same = by_id.setdefault(str(run.record.result.get("id")), [])
        for other in same if run.record.result.get("id") else ():
            if run.record.result == other.record.result:
                raise ConfigError(f"{here} is a copy of {other.record.folder}: give each run once")
        same.append(run)
    return runs


def groups(runs: Sequence[PageRun]) -> list[Group]:
    """Runs by equal settings, labelled by name, and by what differs where names are the same."""
    found: dict[str, list[PageRun]] = {}
    for run in runs:
        found.setdefault(json.dumps(run.settings(), sort_keys=True), []).append(run)
    members = list(found.values())
    return [
        Group(label, own, at)
        for at, (label, own) in enumerate(zip(_labels(members), members, strict=True))
    ]


def of_records(make: Callable[[Sequence[PageRun]], Made], runs: Sequence[PageRun]) -> Made:
    """What is made of runs; a record may be whole JSON and yet hold text where a number belongs.

    Raises:
        ConfigError: naming the first record of which alone it cannot be made either.
    """
    try:
        return make(runs)
    except ConfigError:
        raise
    except _DAMAGE:
        for run in runs:
            try:
                make([run])
            except _DAMAGE as error:
                file, told = run.record.folder / RESULT, f"{type(error).__name__} {error}"
                raise ConfigError(f"{file} is not as docs/results.md says: {told}") from None
        raise


def differing(runs: Sequence[PageRun]) -> dict[str, list[Any]]:
    """The keys in which runs differ, each with its value per run, None where it is not set."""
    settings = [run.settings() for run in runs]
    keys = dict.fromkeys(key for one in settings for key in one)
    found = {key: [one.get(key) for one in settings] for key in keys}
    found = {k: v for k, v in found.items() if any(value != v[0] for value in v)}
    return _without_lacking_blocks(found, settings)


def _without_lacking_blocks(
    found: dict[str, list[Any]], settings: Sequence[dict[str, Any]]
) -> dict[str, list[Any]]:
    """A strategy's block that a run has not is one difference, in words: the whole of it."""
    told: dict[str, list[Any]] = {}
    for key, values in found.items():
        block = ".".join(key.split(".")[:2])
        own = [{k: v for k, v in one.items() if k.startswith(f"{block}.")} for one in settings]
        if not key.startswith("method_kwargs.") or key == block or all(own):
            told[key] = values
            continue
        told[block] = [
            ", ".join(f"{k.removeprefix(f'{block}.')} {text(v)}" for k, v in one.items()) or None
            for one in own
        ]
    return told


def _labels(members: Sequence[Sequence[PageRun]]) -> list[str]:
    first = [own[0] for own in members]
    names = [run.name for run in first]
    differs = {key: values for key, values in differing(first).items() if key != "name"}
    labels = []
    for at, name in enumerate(names):
        same = [i for i, other in enumerate(names) if other == name]
        own = [
            f"{key.rpartition('.')[2]} {text(values[at])}"
            for key, values in differs.items()
            if any(values[i] != values[at] for i in same)
        ]
        labels.append(" · ".join([name, *own[:3]]))
    if len(set(labels)) == len(labels):
        return labels
    return [f"{label} ({run.record.name})" for label, run in zip(labels, first, strict=True)]


def text(value: Any) -> str:
    """A value of a configuration in words."""
    if value is None:
        return "–"
    if isinstance(value, bool):
        return str(value).lower()
    if isinstance(value, float):
        return f"{value:.6g}"
    return value if isinstance(value, str) else json.dumps(value, default=str)


def _read(folder: Path) -> PageRun:
    folder = folder.parent if folder.is_file() else folder
    inner = sorted([*folder.glob(f"*/{RESULT}"), *folder.glob(f"*/*/{RESULT}")])
    if inner and not (folder / RESULT).exists():
        raise ConfigError(f"{folder} is no run, it holds {len(inner)}: give {inner[0].parent}, ...")
    record, file = read_run(folder), folder / METRICS
    try:
        columns = read_metrics(file)
    except FileNotFoundError:  # it has only begun
        columns = {}
    except OSError as error:
        raise ConfigError(f"{file} cannot be read: {type(error).__name__} {error}") from None
    return PageRun(record, columns, _steps_of_an_epoch(record, columns))


def _steps_of_an_epoch(record: RunRecord, columns: Mapping[str, Series]) -> float | None:
    """Means over an epoch are logged with its last step, counted from 0."""
    means = [values for name, values in columns.items() if name.endswith("_epoch")]
    if ends := sorted({step for values in means for step in values}):
        return (ends[-1] + 1) / len(ends)
    try:
        images = int(record.result["data"]["train"]["images"])
        batch = int(record.config["optimizer"]["batch_size"]) * int(record.result["processes"])
        taken = batch * int(record.config.get("accumulate_grad_batches") or 1)
        return images // taken or None
    except _DAMAGE:
        return None


def _flat(value: Any, key: str) -> Iterator[tuple[str, Any]]:
    if isinstance(value, Mapping) and value:
        for name, inner in value.items():
            yield from _flat(inner, f"{key}.{name}" if key else str(name))
    elif value is not None:  # null and absent mean the same
        yield key, value

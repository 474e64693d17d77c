# SPDX-License-Identifier: MIT
"""Which runs there are belong to a cell, by what they did and not by what they are called."""

from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass, field
from datetime import datetime, timezone
from pathlib import Path
from typing import Any

from mixmask_solo.config.files import read_json
from mixmask_solo.config.free import Difference
from mixmask_solo.records.registry.record import LAST, RunRecord
from mixmask_solo.tables.identity import footnote, identity, unlike
from mixmask_solo.tables.images import other_images, same_images
from mixmask_solo.tables.protocol import Protocol
from mixmask_solo.tables.training import Evaluation, Training


@dataclass
class Found:
    """A run that is a training of a table, and what it measured."""

    record: RunRecord
    alike: list[Difference]  # what may differ, and does
    values: dict[str, float] = field(default_factory=dict)  # by the cell's id

    @property
    def completed(self) -> bool:
        return self.record.result.get("status") == "completed"

    def measured(self, evaluation: Evaluation) -> bool:
        """Whether each of its cells has its figure."""
        return all(cell.id in self.values for cell in evaluation.cells)


class Runs:
    """All runs of a folder, sorted once so that a table is matched quickly."""

    def __init__(self, records: Iterable[RunRecord]) -> None:
        self.left_out: dict[Path, str] = {}  # runs of a cell's configuration that are none, and why
        self._pretrained: dict[tuple[Any, ...], list[tuple[RunRecord, dict[str, Any]]]] = {}
        self._probes: dict[str, list[tuple[RunRecord, dict[str, Any]]]] = {}
        for record in records:
            try:
                self._sort_in(record)
            except (AttributeError, KeyError, TypeError, ValueError) as error:
                why = f"{type(error).__name__} {error}"
                self.left_out[record.folder] = f"its result.json cannot be understood ({why})"

    def _sort_in(self, record: RunRecord) -> None:
        same = identity(record.config, int(record.result.get("processes") or 1))
        _moment(record, "started", 0)
        if record.kind == "pretrain":
            self._pretrained.setdefault(_kind(same), []).append((record, same))
        else:
            source = Path(str(same.get("pretrained_feature_extractor")))
            if source.name == LAST:
                self._probes.setdefault(source.parent.name, []).append((record, same))

    def of(self, training: Training, *, seed: int | None = None) -> list[Found]:
        """Runs of this configuration, of any seed or one, with what was measured of each.

        Two of the same seed are repeats of one figure: the last completed one counts.
        """
        found: dict[Any, Found] = {}
        for record, same in self._pretrained.get(_kind(training.identity), []):
            own = same.get("seed")
            if (seed is not None and own != seed) or unlike(
                training.identity, same, training.named
            ):
                continue
            if reason := other_images(record):
                self.left_out[record.folder] = reason
                continue
            new = Found(record, footnote(training.identity, same))
            if own not in found or _counts_more(new.record, found[own].record):
                found[own] = new
        for run in found.values():
            for evaluation in training.evaluations:
                for cell in evaluation.cells:
                    value = self.value(run.record, evaluation, cell.protocol)
                    if value is not None:
                        run.values[cell.id] = value
        return [found[own] for own in sorted(found, key=str)]

    def value(self, run: RunRecord, evaluation: Evaluation, protocol: Protocol) -> float | None:
        """A protocol's figure of what an evaluation of a completed run's last checkpoint gave, in
        the table's unit."""
        if run.result.get("status") != "completed":
            return None
        if protocol.command == "mixmask-knn":
            return _knn(run, protocol)
        values = []
        for record, same in self._probes.get(run.folder.name, []):
            if reason := other_images(record):
                self.left_out[record.folder] = reason
                continue
            fresh = _moment(record, "started", 0) >= _moment(run, "ended", -1)
            done = record.result.get("status") == "completed"
            if done and fresh and not unlike(evaluation.identity or {}, same):
                values.append((_moment(record, "ended", -1), _probed(record, protocol)))
        return max(values, key=lambda v: v[0])[1] if values else None


def _kind(same: dict[str, Any]) -> tuple[Any, ...]:
    data = same.get("data") or {}
    return same.get("method"), data.get("dataset"), same.get("max_epochs")


def _counts_more(new: RunRecord, old: RunRecord) -> bool:
    """A completed run before one that is not, then the later one."""
    order = [(r.result.get("status") == "completed", _moment(r, "ended", -1)) for r in (new, old)]
    return order[0] > order[1]


def _moment(run: RunRecord, key: str, piece: int) -> datetime:
    """In UTC where no zone is told; long ago where there is no such moment."""
    try:
        found = datetime.fromisoformat(run.result["pieces"][piece][key])
    except (KeyError, IndexError, TypeError, ValueError):
        found = datetime(1970, 1, 1)
    return found if found.tzinfo else found.replace(tzinfo=timezone.utc)


def _knn(run: RunRecord, p: Protocol) -> float | None:
    """From any of the run's files that was written after its last checkpoint."""
    wanted = {"network": "trained", "features": p.features, "distance": "cosine", "k": p.k}
    last = run.folder / LAST
    for file in sorted(run.folder.glob("knn*.json")):
        content = read_json(file)
        source = Path(str(content.get("checkpoint")))
        own = (source.parent.name, source.name) == (run.folder.name, LAST)
        if not own or content.get("evaluate") != "online" or not same_images(run, content):
            continue
        if last.is_file() and last.stat().st_mtime > file.stat().st_mtime:
            continue
        for row in _rows(content):
            same = all(row.get(key) == value for key, value in wanted.items())
            temperature = float(row.get("temperature") or 0)
            if same and abs(temperature - p.temperature) < 1e-9 and "acc1" in row:
                return float(row["acc1"])
    return None


def _rows(content: dict[str, Any]) -> Iterator[dict[str, Any]]:
    rows: Sequence[Any] = content.get("rows") or []
    yield from (row for row in rows if isinstance(row, dict))


def _probed(record: RunRecord, p: Protocol) -> float | None:
    if p.best:
        best = (record.result.get("best_metrics") or {}).get(p.value) or {}
        return None if "value" not in best else float(best["value"])
    value = (record.result.get("metrics") or {}).get(p.value)
    return None if value is None else float(value)

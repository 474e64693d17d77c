# SPDX-License-Identifier: MIT
"""Which runs there are belong to a cell, by what they did and not by what they are called."""

from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass, field
from datetime import datetime, timezone
from pathlib import Path
from typing import Any

from mixmask_solo.config.datasets import DATASETS
from mixmask_solo.config.files import read_json
from mixmask_solo.config.free import Difference
from mixmask_solo.config.schema.data import LABELS
from mixmask_solo.records.registry.record import LAST, RunRecord
from mixmask_solo.tables.identity import footnote, identity, unlike
from mixmask_solo.tables.training import Evaluation, Training


@dataclass
class Found:
    """A run that is a training of a table, and what it measured."""

    record: RunRecord
    alike: list[Difference]  # what may differ, and does
    values: dict[int, float] = field(default_factory=dict)  # by place among the evaluations

    @property
    def completed(self) -> bool:
        return self.record.result.get("status") == "completed"


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
            if reason := _other_images(record):
                self.left_out[record.folder] = reason
                continue
            new = Found(record, footnote(training.identity, same))
            if own not in found or _counts_more(new.record, found[own].record):
                found[own] = new
        for run in found.values():
            for place, evaluation in enumerate(training.evaluations):
                value = self.value(run.record, evaluation)
                if value is not None:
                    run.values[place] = value
        return [found[own] for own in sorted(found, key=str)]

    def value(self, run: RunRecord, evaluation: Evaluation) -> float | None:
        """What an evaluation of a completed run's last checkpoint gave, in the table's unit."""
        if run.result.get("status") != "completed":
            return None
        if evaluation.protocol.command == "mixmask-knn":
            return _knn(run, evaluation)
        values = []
        for record, same in self._probes.get(run.folder.name, []):
            if reason := _other_images(record):
                self.left_out[record.folder] = reason
                continue
            fresh = _moment(record, "started", 0) >= _moment(run, "ended", -1)
            done = record.result.get("status") == "completed"
            if done and fresh and not unlike(evaluation.identity or {}, same):
                values.append((_moment(record, "ended", -1), _probed(record, evaluation)))
        return max(values, key=lambda v: v[0])[1] if values else None


def _kind(same: dict[str, Any]) -> tuple[Any, ...]:
    data = same.get("data") or {}
    return same.get("method"), data.get("dataset"), same.get("max_epochs")


def _other_images(run: RunRecord) -> str:
    """Why its images cannot be the whole data set that the configuration names, or its share."""
    data = run.config.get("data") or {}
    splits = run.result.get("data") or {}
    train, val, held = (splits.get(name) or {} for name in ("train", "val", "holdout"))
    fraction = float(data.get("fraction") or -1)
    share = 1 if fraction == -1 else fraction
    images = train.get("images")
    if images is not None:
        images += int(held.get("images") or 0)  # chosen among: a part of the training images
    tuned = run.kind == "finetune" and "labels" in data  # mixmask-finetune's
    if tuned and data["labels"] not in LABELS:
        images = None  # as many as a file names
    share *= LABELS.get(str(data.get("labels")), 1) if tuned else 1
    # its share is rounded class by class
    slack = int(train.get("classes") or 0) if tuned and fraction not in (-1, 1) else 0
    return _other(str(data.get("dataset")), images, val.get("images"), share, slack)


def _other(
    dataset: str, train: int | None, val: int | None, share: float = 1, slack: int = 0
) -> str:
    """What is wrong with these numbers of images; nothing where they are right or not known.

    ``slack``: how many training images more or fewer than their ``share`` are right, too.
    """
    info = DATASETS.get(dataset)
    wanted = (None, None) if info is None else (info.train_images, info.val_images)
    for kind, there, all_, part, off in zip(
        *(("training", "validation"), (train, val), wanted, (share, 1), (slack, 0)), strict=True
    ):
        if there is None or all_ is None:
            continue
        wanted_here = all_ * part
        if abs(there - wanted_here) > max(1, 0.005 * wanted_here, off):  # damaged: left out
            return f"{there:,} {kind} images, not the {wanted_here:,.0f} of {dataset}"
    return ""


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


def _knn(run: RunRecord, evaluation: Evaluation) -> float | None:
    """From any of the run's files that was written after its last checkpoint."""
    p = evaluation.protocol
    wanted = {"network": "trained", "features": p.features, "distance": "cosine", "k": p.k}
    last = run.folder / LAST
    for file in sorted(run.folder.glob("knn*.json")):
        content = read_json(file)
        source = Path(str(content.get("checkpoint")))
        own = (source.parent.name, source.name) == (run.folder.name, LAST)
        if not own or content.get("evaluate") != "online" or not _same_images(run, content):
            continue
        if last.is_file() and last.stat().st_mtime > file.stat().st_mtime:
            continue
        for row in _rows(content):
            same = all(row.get(key) == value for key, value in wanted.items())
            temperature = float(row.get("temperature") or 0)
            if same and abs(temperature - p.temperature) < 1e-9 and "acc1" in row:
                return float(row["acc1"])
    return None


def _same_images(run: RunRecord, content: dict[str, Any]) -> bool:
    """Whether a k-NN used all training images, whatever pretraining saw, and the run's own
    validation images."""
    dataset = str((run.config.get("data") or {}).get("dataset"))
    train, test = content.get("train_images"), content.get("test_images")
    val = ((run.result.get("data") or {}).get("val") or {}).get("images")
    same = content.get("dataset") == dataset and (None in (test, val) or test == val)
    return same and not _other(dataset, train, test)


def _rows(content: dict[str, Any]) -> Iterator[dict[str, Any]]:
    rows: Sequence[Any] = content.get("rows") or []
    yield from (row for row in rows if isinstance(row, dict))


def _probed(record: RunRecord, evaluation: Evaluation) -> float | None:
    p = evaluation.protocol
    if p.best:
        best = (record.result.get("best_metrics") or {}).get(p.value) or {}
        return None if "value" not in best else float(best["value"])
    value = (record.result.get("metrics") or {}).get(p.value)
    return None if value is None else float(value)

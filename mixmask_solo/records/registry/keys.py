# SPDX-License-Identifier: MIT
"""Short names for what runs hold: ``knn``, ``grid_size``, ``val_loss``."""

from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from datetime import datetime, timezone
from typing import Any

from mixmask_solo.config import ConfigError, did_you_mean, listing
from mixmask_solo.records.registry.row import CONFIG, Row

_DATE = "provenance.date"


def _metric(name: str) -> list[str]:
    """Where the last value lies, of whichever epoch."""
    return [f"metrics.{name}", f"earlier_metrics.{name}.value"]


EVALUATED = "knn.acc1"  # in evaluation mode, of the last checkpoint
_ONLINE = _metric("val_knn_acc1")


@dataclass(frozen=True)
class Key:
    """A name and how its value is found in a row; None where the run has none."""

    name: str
    get: Callable[[Row], Any]


class Names:
    """Resolves names against the keys that some runs have.

    Args:
        rows: these runs.
        at: the time that states and ages are told of, now by default.
    """

    def __init__(self, rows: Iterable[Row], at: datetime | None = None) -> None:
        self.at = at or datetime.now(timezone.utc)
        self.known = {name for keys in {row.keys for row in rows} for name in keys.place}
        self._computed: dict[str, Callable[[Row], Any]] = {
            "state": self.state,
            "name": lambda row: row.folder.absolute().name,
            "folder": lambda row: str(row.folder),
            "kind": _kind,
            "method": lambda row: row.get(f"{CONFIG}method") or _kind(row),
            "mixed": lambda row: list(row.keys.blocks) if _kind(row) == "pretrain" else [],
            "epoch": lambda row: row.get("epochs"),
            "knn": _knn,
            "knn_kind": _knn_kind,
            "date": lambda row: row.get(_DATE) or row.get("heartbeat"),
            "age": self._age,
        }
        self._states: dict[Row, str] = {}
        self._short = {
            "acc1": _metric("val_acc1"),
            "acc5": _metric("val_acc5"),
            "dataset": [f"{CONFIG}data.dataset"],
            "epochs": ["epochs"],
            "max_epochs": [f"{CONFIG}max_epochs"],
        }

    def state(self, row: Row) -> str:
        """Of a run, as :meth:`RunRecord.state` tells it."""
        if row not in self._states:
            self._states[row] = row.state(self.at)
        return self._states[row]

    def key(self, name: str) -> Key:
        """What a name means: one of the short ones, a metric as the last epoch that had it measured
        it, a top-level entry, or a key of the resolved configuration by its full name or its end.

        Raises:
            ConfigError: for a name that no run has, with the nearest that one has, and for an end
                that several keys have.
        """
        if name in self._computed:
            return Key(name, self._computed[name])
        paths = self._short.get(name) or self._paths(name)
        return Key(name, lambda row: _first(row, paths))

    def keys(self, names: Iterable[str]) -> list[Key]:
        """Several of them."""
        return [self.key(name) for name in names]

    def _paths(self, name: str) -> list[str]:
        for paths in (_metric(name), [name], [f"{CONFIG}{name}"]):
            if not self.known.isdisjoint(paths):
                return paths
        ends = sorted(k for k in self.known if k.startswith(CONFIG) and k.endswith(f".{name}"))
        if len(ends) > 1:
            several = listing([end.removeprefix(CONFIG) for end in ends], "and")
            raise ConfigError(f"{name} is the end of several keys, {several}: give one in full")
        if not ends:
            raise ConfigError(f"no run here has {name!r}{did_you_mean(name, self._all())}")
        return ends

    def _all(self) -> set[str]:
        """Every name that would be understood, and the ends that may be."""
        told = {k.removeprefix("metrics.").removeprefix(CONFIG) for k in self.known}
        ends = {k.rpartition(".")[2] for k in self.known if k.startswith(CONFIG)}
        return told | ends | self._computed.keys() | self._short.keys()

    def _age(self, row: Row) -> float | None:
        """Seconds since it began, or went on."""
        try:
            return round((self.at - datetime.fromisoformat(str(row.get(_DATE)))).total_seconds())
        except (ValueError, TypeError):
            return None


def is_online(row: Row) -> bool:
    """Whether the k-NN of a run is the online one, since there is no other."""
    return _knn_kind(row) == "online"


def _first(row: Row, paths: Sequence[str]) -> Any:
    return next((value for path in paths if (value := row.get(path)) is not None), None)


def _knn(row: Row) -> Any:
    return _first(row, (EVALUATED, *_ONLINE))


def _knn_kind(row: Row) -> str | None:
    if row.get(EVALUATED) is not None:
        return "evaluation"
    return None if _first(row, _ONLINE) is None else "online"


def _kind(row: Row) -> str:
    if f"{CONFIG}detector.name" in row.keys.place:
        return "detect"
    if f"{CONFIG}method" in row.keys.place:
        return "pretrain"
    return "finetune" if row.get(f"{CONFIG}finetune") else "linear"

# SPDX-License-Identifier: MIT
"""One run as its ``result.json`` tells it, without loading torch."""

import json
import socket
from collections.abc import Mapping
from dataclasses import dataclass
from datetime import datetime, timezone
from pathlib import Path
from typing import Any

from mixmask_solo.config import ConfigError
from mixmask_solo.records.registry.processes import process_began, process_exists

RESULT = "result.json"
SCHEMA = 1  # of that file and of metrics.csv; docs/results.md says what counts as a change
METRICS = "metrics.csv"
LAST = "last.ckpt"  # the checkpoint that a run goes on from
_BLOCKS = (  # of a result
    *("collapse", "config", "knn", "process", "provenance", "versions"),
    *("metrics", "earlier_metrics", "best_metrics"),
)
STATES = ("running", "died", "completed", "interrupted", "failed", "diverged")
STALE = 600.0  # seconds without a heartbeat after which a run of another machine counts as dead
_ROUNDED = 1.0  # seconds that a process may seem younger than what it has written


@dataclass(frozen=True)
class RunRecord:
    """A run's folder and what its ``result.json`` holds (docs/results.md)."""

    folder: Path
    result: Mapping[str, Any]

    @property
    def name(self) -> str:
        return self.folder.name

    @property
    def config(self) -> Mapping[str, Any]:
        """Resolved, as the run used it."""
        return self.result.get("config") or {}

    @property
    def kind(self) -> str:
        """``pretrain``, ``linear``, ``detect``, or ``finetune``, of the whole network."""
        if "detector" in self.config:
            return "detect"
        if "method" in self.config:
            return "pretrain"
        return "finetune" if self.config.get("finetune") else "linear"

    @property
    def length(self) -> tuple[str, str]:
        """In what a run is as long as, ``epochs`` or ``steps``, and how far it is: ``3 of 10``."""
        unit = "steps" if "max_steps" in self.config else "epochs"
        whole = self.config.get(f"max_{unit}")
        of = "?" if whole is None else f"{whole:,}"
        return unit, f"{self.result.get(unit) or 0:,} of {of}"

    def when(self, epoch: int) -> str:
        """The end of an epoch, from 0, or of a round of a run of steps: ``step 3,000``."""
        every: Any = self.config.get("eval_every")
        steps = every is not None and "max_steps" in self.config
        return f"step {(epoch + 1) * every:,}" if steps else f"epoch {epoch + 1}"

    @property
    def collapse(self) -> str:
        """What was noted of a collapse of its embeddings, epochs from 1; empty without one."""
        note = self.result.get("collapse") or {}
        if not note:
            return ""
        until = note.get("until")
        over = "" if until is None else f", over in epoch {until + 1}"
        return f"{note['kind']} from epoch {note['epoch'] + 1}{over} (a heuristic)"

    def state(self, at: datetime | None = None) -> str:
        """``running``, ``died`` (it says it runs, but is gone), ``completed``, ``interrupted``,
        ``diverged`` (a loss that is not finite) or ``failed``; ``at`` is the time in its place."""
        status = str(self.result.get("status"))
        if status == "running":
            return "running" if self._is_alive(at or datetime.now(timezone.utc)) else "died"
        diverged = str(self.result.get("error", "")).startswith("NonFiniteLoss")
        return "diverged" if status == "failed" and diverged else status

    def _is_alive(self, at: datetime) -> bool:
        """On this machine a process is enough, which may not write for hours of a validation; one
        that is not known to be the run's, its number may be in use anew, needs the heartbeat."""
        process = self.result.get("process") or {}
        try:
            if process.get("host") == socket.gethostname():
                pid = int(process["pid"])
                if pid <= 0 or not process_exists(pid):
                    return False
                if self._is_of(pid):
                    return True
            beaten = datetime.fromisoformat(str(self.result["heartbeat"]))
            return (at - beaten).total_seconds() < STALE
        except (KeyError, ValueError, TypeError, OverflowError):
            return False

    def _is_of(self, pid: int) -> bool:
        """Whether a process of this machine is the run's: it began before its piece."""
        try:
            started = datetime.fromisoformat(str(self.result["pieces"][-1]["started"])).timestamp()
        except (LookupError, ValueError, TypeError, OverflowError):
            return False
        began = process_began(pid)
        return began is not None and began <= started + _ROUNDED


def read_run(folder: Path) -> RunRecord:
    """The run in a folder.

    Raises:
        ConfigError: where there is no ``result.json``, a damaged one, or one of a later schema,
            naming it.
    """
    file = folder / RESULT
    try:
        content = json.loads(file.read_bytes())
    except FileNotFoundError:
        raise ConfigError(f"{folder} is no run: it has no {RESULT}") from None
    except (OSError, ValueError, RecursionError) as error:
        raise ConfigError(f"{file} cannot be read: {error}") from None
    if not isinstance(content, dict) or "status" not in content:
        raise ConfigError(f"{file} is no run's: it does not say a status")
    for key in _BLOCKS:
        if not isinstance(content.get(key) or {}, dict):
            raise ConfigError(f"{file} is damaged: {key} is no object")
    schema = content.get("schema", SCHEMA)
    if not isinstance(schema, int) or schema > SCHEMA:
        raise ConfigError(f"{file} is of schema {schema}, and {SCHEMA} is known here: update")
    return RunRecord(folder, content)

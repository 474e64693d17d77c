# SPDX-License-Identifier: MIT
"""What of a table is still to be done."""

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path

from mixmask_solo.records.registry.record import LAST
from mixmask_solo.tables.match import Found, Runs
from mixmask_solo.tables.training import Evaluation, Training


@dataclass(frozen=True)
class Missing:
    """A training that is not complete, or measurements of it that are not there."""

    training: Training
    run: Found | None  # begun or complete
    evaluations: Sequence[Evaluation]

    @property
    def trained(self) -> bool:
        return self.run is not None and self.run.completed

    @property
    def alive(self) -> bool:
        """Somebody is at it."""
        return self.run is not None and self.run.record.state() == "running"

    @property
    def paths(self) -> tuple[str, str]:
        """Checkpoint and folder of the run."""
        assert self.run is not None
        folder: Path = self.run.record.folder
        return str(folder / LAST), str(folder)


def missing(trainings: Iterable[Training], runs: Runs) -> list[Missing]:
    """In the trainings' order; complete ones are left out."""
    found = []
    for training in trainings:
        run = next(iter(runs.of(training, seed=training.seed)), None)
        left = [e for e in training.evaluations if run is None or not run.measured(e)]
        if left or run is None or not run.completed:
            found.append(Missing(training, run, left))
    return found

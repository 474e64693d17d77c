# SPDX-License-Identifier: MIT
"""What is known of submitted jobs: files in the submission's folder, which all nodes see."""

import logging
import time
from collections.abc import Iterator
from dataclasses import asdict, dataclass, field, fields
from pathlib import Path
from typing import Any

from mixmask_solo.config import ConfigError
from mixmask_solo.config.files import read_json, write_json

log = logging.getLogger(__name__)
_FILE = "submission.json"


@dataclass
class Planned:
    """One job as it was submitted."""

    key: str  # its number from 0; that of one behind it is added with a dot
    command: list[str]
    label: str = ""  # what tells it from its siblings
    id: str = ""  # Slurm's
    after: str | None = None  # the key of the job whose run it takes up
    cancelled: bool = False  # while it waited


@dataclass
class Submission:
    """What one ``mixmask-submit`` handed over."""

    folder: Path
    name: str
    jobs: list[Planned]
    slurm: dict[str, Any] = field(default_factory=dict)  # resolved keys
    local: bool = False
    created: float = field(default_factory=time.time)

    def save(self) -> None:
        """Writes what `load` reads."""
        content = asdict(self)
        del content["folder"]
        write_json(self.folder / _FILE, content)

    @classmethod
    def load(cls, folder: Path) -> "Submission":
        """The one in a folder; raises ConfigError where there is none."""
        content = read_json(folder / _FILE)
        try:
            jobs = [Planned(**_known(Planned, job)) for job in content["jobs"]]
            content = {**_known(cls, content), "folder": folder, "jobs": jobs}
            content["created"] = float(content["created"])
            return cls(**content)
        except (KeyError, TypeError, ValueError, AttributeError):
            raise ConfigError(
                f"'{folder}' is no folder of a submission: its {_FILE} is missing or damaged"
            ) from None

    def state(self, job: Planned) -> dict[str, Any]:
        """What the job itself wrote last; nothing before it began."""
        return read_json(state_file(self.folder, job.key))

    def beats(self, job: Planned) -> list[dict[str, Any]]:
        """Where its processes are, by rank."""
        files = self.folder.glob(f"beat-{job.key}-*.json")
        return sorted((read_json(file) for file in files), key=lambda told: told.get("rank", 0))


def submissions(root: Path) -> Iterator[Submission]:
    """All in a folder, the newest first; a damaged one is left out with a warning."""
    for file in sorted(root.glob(f"*/{_FILE}"), key=lambda file: -file.stat().st_mtime):
        try:
            yield Submission.load(file.parent)
        except ConfigError as error:
            log.warning("%s", error)


def find(root: Path, name: str) -> tuple[Submission, list[Planned]]:
    """A submission by its folder, name or Slurm's number, and which of its jobs are meant.

    Raises:
        ConfigError: where there is none.
    """
    if Path(name, _FILE).is_file():
        submission = Submission.load(Path(name))
        return submission, submission.jobs
    for submission in submissions(root):
        if name in (submission.folder.name, submission.name):
            return submission, submission.jobs
        own = [job for job in submission.jobs if name in (job.id, job.id.partition("_")[0])]
        if own:
            return submission, own
    raise ConfigError(
        f"no job '{name}' in {root}: give Slurm's number or a folder of a submission, "
        "or --folder; mixmask-submit status shows what there is"
    )


def _known(kind: type[Any], values: dict[str, Any]) -> dict[str, Any]:
    """Without keys of another version."""
    return {f.name: values[f.name] for f in fields(kind) if f.name in values}


def state_file(folder: Path, key: str) -> Path:
    return folder / f"state-{key}.json"


def beat_file(folder: Path, key: str, rank: int | str) -> Path:
    return folder / f"beat-{key}-{rank}.json"

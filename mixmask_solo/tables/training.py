# SPDX-License-Identifier: MIT
"""A run of a table, its measurements, and the command lines of both."""

import hashlib
import shlex
from collections.abc import Collection, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from mixmask_solo.config.override import hydra_value
from mixmask_solo.tables.identity import fingerprint
from mixmask_solo.tables.protocol import Protocol
from mixmask_solo.tables.schema import Cell

_RESUMING = ("auto_resume.enabled=true", "++auto_resume.max_hours=100000")


@dataclass
class Evaluation:
    """One measurement of a training, which may fill several cells."""

    protocol: Protocol
    recipe: Path | None
    overrides: list[str]  # of a probe, scale and site included; of a k-NN the site's as options
    identity: dict[str, Any] | None  # of a probe
    paths: list[tuple[str, str]] = field(default_factory=list)  # keys that name its own images
    cells: list[Cell] = field(default_factory=list)

    @property
    def wide(self) -> bool:
        """Whether it takes as many processes as training does; others have one."""
        return self.protocol.command == "mixmask-detect"

    @property
    def file(self) -> str:
        """Where a k-NN is written in the run's folder."""
        p = self.protocol
        return f"knn-{p.features}-k{p.k}-T{p.temperature:g}.json"

    def command(self, folder: Path, checkpoint: str, run: str) -> list[str]:
        """``checkpoint`` and ``run`` of the training; probes go to ``folder``."""
        p = self.protocol
        if p.command == "mixmask-knn":
            return [
                *(p.command, "--pretrained_checkpoint", checkpoint, "--feature_type", p.features),
                *("--k", str(p.k), "--temperature", f"{p.temperature:g}"),
                *self.overrides,
                *("--out", f"{run}/{self.file}"),
            ]
        assert self.recipe is not None
        words = [p.command, "--config-path", str(self.recipe.parent)]
        words += ["--config-name", self.recipe.name, *self.overrides]
        words += [f"checkpoint.dir={hydra_value(str(folder))}", *_RESUMING]
        value = checkpoint if checkpoint.startswith("{") else hydra_value(checkpoint)
        return [*words, f"pretrained_feature_extractor={value}"]


@dataclass
class Training:
    """One pretraining run, which may serve several cells."""

    recipe: Path
    overrides: list[str]  # of the cell
    smaller: list[str]  # of the scale
    local: list[str]  # of the machine: devices, paths, and the batch that follows
    identity: dict[str, Any]
    named: frozenset[str]  # keys that the table's cells override
    seed: int
    scale: float
    paths: list[tuple[str, str]] = field(default_factory=list)  # keys that name its images
    evaluations: list[Evaluation] = field(default_factory=list)

    @property
    def cells(self) -> list[Cell]:
        return [cell for evaluation in self.evaluations for cell in evaluation.cells]

    @property
    def key(self) -> str:
        """The same for every plan of this run."""
        same = fingerprint(self.identity, self.named)
        return hashlib.sha256(f"{same} {self.seed}".encode()).hexdigest()[:16]

    @property
    def label(self) -> str:
        """Recipe, overrides, scale and seed."""
        return self.labelled(())

    def labelled(self, common: Collection[str]) -> str:
        """The same without overrides that all runs have in common."""
        where = f"{self.recipe.parent.name}/{self.recipe.name}"
        own = [word for word in self.overrides if word not in common]
        scale = [] if self.scale == 1 else [f"scale={self.scale:g}"]
        return " ".join([where, *own, *scale, f"seed={self.seed}"])

    def command(self, folder: Path) -> list[str]:
        """The line that trains it below ``folder``."""
        words = ["mixmask-pretrain", "--config-path", str(self.recipe.parent)]
        words += ["--config-name", self.recipe.name, *self.overrides]
        words += [*self.smaller, *self.local]
        words += [f"seed={self.seed}", f"checkpoint.dir={hydra_value(str(folder))}", *_RESUMING]
        if self.scale != 1:
            words.append(f"++scale={self.scale:g}")
        return words


def in_common(chosen: Sequence[Training]) -> list[str]:
    """Overrides of all trainings, where that leaves something to tell them apart."""
    recipes = {training.recipe for training in chosen}
    if len(recipes) < 2:
        return []
    return [w for w in chosen[0].overrides if all(w in t.overrides for t in chosen)]


def as_typed(words: Sequence[str]) -> str:
    """A command line for a shell, paths below the current folder relative to it."""
    here = f"{Path.cwd()}/"
    return shlex.join([word.removeprefix(here) for word in words])

# SPDX-License-Identifier: MIT
"""From cells to runs: what has to be trained and measured, each once."""

import hashlib
import shlex
from collections.abc import Callable, Collection, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from mixmask_solo.config import ConfigError, to_values
from mixmask_solo.config.override import hydra_value
from mixmask_solo.tables.identity import fingerprint, identity, processes_of, unlike
from mixmask_solo.tables.scale import scaled
from mixmask_solo.tables.schema import Cell, Protocol

Composer = Callable[[str, str, Sequence[str]], Any]  # folder, name, overrides
Resolver = Callable[[Any], Any]
Site = Mapping[str, Sequence[str]]  # data set, or `all`, to overrides
_RESUMING = ("auto_resume.enabled=true", "++auto_resume.max_hours=100000")
_ONE = ("++devices=1", "++num_nodes=1")  # a rehearsal's process has the whole, small batch
_ALLOCATED = ("devices", "num_nodes", "accelerator", "strategy")
_LATER = {"mixmask-finetune": "fine-tuning", "mixmask-detect": "detection"}


@dataclass
class Evaluation:
    """One measurement of a training, which may fill several cells."""

    protocol: Protocol
    recipe: Path | None
    overrides: list[str]  # of a probe, scale and site included
    identity: dict[str, Any] | None  # of a probe
    cells: list[Cell] = field(default_factory=list)

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


def why_not(protocol: Protocol) -> str:
    """Why a protocol cannot be run; empty where it can."""
    later = _LATER.get(protocol.command)
    return f"there is no {later} in this version" if later else ""


def trainings(
    cells: Sequence[Cell],
    seeds: Sequence[int],
    *,
    compose: Composer,
    resolve: Resolver,
    resolve_probe: Resolver,
    scale: float = 1,
    site: Site | None = None,
    processes: int | None = None,
    wrong: dict[str, str] | None = None,
) -> list[Training]:
    """The runs that fill the cells, in the order of the table, seed by seed.

    The global batch is the recipe's on whatever number of ``processes`` (default: what recipe and
    ``site`` say), so that rates and results are the cell's. Cells whose protocol is not there are
    left out. What is wrong with a cell's configuration on this machine is put into ``wrong`` by the
    cell's id, where that is given.

    Raises:
        ConfigError: naming the cell whose configuration is wrong.
    """
    found: dict[str, list[Training]] = {}
    for cell in cells:
        if why_not(cell.protocol):
            continue
        try:
            own = _training(cell, compose, resolve, scale, site or {}, processes)
            probe = _evaluation(cell, compose, resolve_probe, scale, site or {}, processes)
        except ConfigError as error:
            if wrong is None:
                raise ConfigError(f"cell {cell.id}: {error}") from None
            wrong[cell.id] = str(error)
            continue
        name = fingerprint(own.identity, cell.named)
        if name not in found:
            found[name] = [
                Training(
                    recipe=cell.recipe,
                    overrides=[*cell.overrides],
                    smaller=own.smaller,
                    local=own.local,
                    identity=own.identity,
                    named=cell.named,
                    seed=seed,
                    scale=scale,
                )
                for seed in seeds
            ]
        for training in found[name]:
            _add(training, probe, cell)
    return [training for group in found.values() for training in group]


@dataclass(frozen=True)
class _Settled:
    """Overrides of the scale and of the machine, and what is trained."""

    smaller: list[str]
    local: list[str]
    identity: dict[str, Any]


def _settle(
    composed: Callable[..., Any],
    resolve: Resolver,
    scale: float,
    local: list[str],
    processes: int | None,
) -> _Settled:
    """``composed``: the configuration with further overrides, unresolved."""
    full = to_values(resolve(composed()))
    smaller = scaled(full, scale, processes_of(full))
    same = identity(to_values(resolve(composed(*smaller, *_ONE)))) if smaller else identity(full)
    if smaller and processes is None:
        local = [*_ONE, *local]  # unless the machine's own say otherwise
    there = to_values(composed(*smaller, *local))
    count = processes or processes_of(there)
    batch = int(same["optimizer"]["batch_size"])
    if batch % count:
        raise ConfigError(
            f"its global batch of {batch} is not to be divided among {count} processes: choose "
            "another number of devices"
        )
    if int(there["optimizer"]["batch_size"]) != batch // count:
        local = [*local, f"++optimizer.batch_size={batch // count}"]
    if local:
        shared = (f"++devices={count}", "++num_nodes=1")
        found = identity(to_values(resolve(composed(*smaller, *local, *shared))), count)
        for key, old, new in unlike(same, found):
            raise ConfigError(
                f"{key}={new} for every run would make it another experiment than the cell's "
                f"({old}): leave it out, or write a table of your own"
            )
    return _Settled(smaller, local, same)


def _training(
    cell: Cell,
    compose: Composer,
    resolve: Resolver,
    scale: float,
    site: Site,
    processes: int | None,
) -> _Settled:
    def composed(*more: str) -> Any:
        return compose(str(cell.recipe.parent), cell.recipe.name, [*cell.overrides, *more])

    return _settle(composed, resolve, scale, _local(site, cell.dataset, processes), processes)


def _evaluation(
    cell: Cell,
    compose: Composer,
    resolve: Resolver,
    scale: float,
    site: Site,
    processes: int | None,
) -> Evaluation:
    protocol, probe = cell.protocol, cell.probe
    if probe is None:
        return Evaluation(protocol, None, [], None)

    def composed(*more: str) -> Any:
        given = [*protocol.overrides, *more, "pretrained_feature_extractor=none.ckpt"]
        return compose(str(probe.parent), probe.name, given)

    alone = None if processes is None else 1  # a job that measures has one process
    found = _settle(composed, resolve, scale, _local(site, cell.dataset, processes), alone)
    own = [*protocol.overrides, *found.smaller, *found.local]
    return Evaluation(protocol, probe, own, found.identity)


def _local(site: Site, dataset: str, processes: int | None) -> list[str]:
    """The machine's overrides; where a job says how many processes there are, without those."""
    words = [*site.get("all", ()), *site.get(dataset, ())]
    if processes is None:
        return words
    return [w for w in words if w.lstrip("+~").partition("=")[0] not in _ALLOCATED]


def _add(training: Training, evaluation: Evaluation, cell: Cell) -> None:
    """To an evaluation that is the same, or as a new one."""
    for known in training.evaluations:
        same = known.protocol == evaluation.protocol and known.recipe == evaluation.recipe
        if same:
            known.cells.append(cell)
            return
    own = Evaluation(**{**vars(evaluation), "cells": [cell]})
    training.evaluations.append(own)


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

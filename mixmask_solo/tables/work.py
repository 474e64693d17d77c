# SPDX-License-Identifier: MIT
"""From cells to runs: what has to be trained and measured, each once."""

from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from mixmask_solo.config import ConfigError, to_values
from mixmask_solo.config.check import get
from mixmask_solo.config.schema.optimizer import HEADS
from mixmask_solo.tables.absent import Paths, image_paths
from mixmask_solo.tables.identity import accumulated, fingerprint, identity, processes_of, unlike
from mixmask_solo.tables.scale import scaled
from mixmask_solo.tables.schema import Cell
from mixmask_solo.tables.training import Evaluation, Training

Composer = Callable[[str, str, Sequence[str]], Any]  # folder, name, overrides
Resolver = Callable[[Any], Any]
Site = Mapping[str, Sequence[str]]  # data set, or `all`, to overrides
_ONE = ("++devices=1", "++num_nodes=1")  # a rehearsal's process has the whole, small batch
_ALLOCATED = ("devices", "num_nodes", "accelerator", "strategy")
_KNN_OPTIONS = {  # by which mixmask-knn takes what a site gives
    "data.train_path": "--train_data_path",
    "data.val_path": "--val_data_path",
    "data.format": "--data_format",
    "data.image_column": "--image_column",
    "data.label_column": "--label_column",
    "data.num_workers": "--num_workers",
}


def trainings(
    cells: Sequence[Cell],
    seeds: Sequence[int],
    *,
    compose: Composer,
    resolve: Resolver,
    resolve_probe: Resolver,
    others: Mapping[str, Resolver] | None = None,
    scale: float = 1,
    site: Site | None = None,
    processes: int | None = None,
    wrong: dict[str, str] | None = None,
    watch: Callable[[Sequence[Cell]], Iterable[Cell]] = iter,
) -> list[Training]:
    """The runs that fill the cells, in the order of the table, seed by seed.

    The global batch is the recipe's on whatever number of ``processes`` (default: what recipe and
    ``site`` say), so that rates and results are the cell's. ``others`` resolve what other commands
    than a probe's measure with, by the command; ``watch`` wraps the cells, for a progress bar. What
    is wrong with a cell's configuration on this machine is put into ``wrong`` by the cell's id,
    where that is given.

    Raises:
        ConfigError: naming the cell whose configuration is wrong.
    """
    found: dict[str, list[Training]] = {}
    for cell in watch(cells):
        try:
            own = _training(cell, compose, resolve, scale, site or {}, processes)
            measure = (others or {}).get(cell.protocol.command, resolve_probe)
            probe = _evaluation(cell, own, compose, measure, scale, site or {}, processes)
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
                    paths=own.paths,
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
    there: dict[str, Any]  # the configuration that they make

    @property
    def paths(self) -> Paths:
        return image_paths(self.there)


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
    pieces = count * accumulated(there)
    if batch % pieces:
        steps = f" in {pieces // count} batches a step" if pieces != count else ""
        raise ConfigError(
            f"its global batch of {batch} is not to be divided among {count} processes{steps}: "
            "choose another number of devices"
        )
    if int(there["optimizer"]["batch_size"]) != batch // pieces:
        local = [*local, f"++optimizer.batch_size={batch // pieces}"]
    if local:
        shared = (f"++devices={count}", "++num_nodes=1")
        found = identity(to_values(resolve(composed(*smaller, *local, *shared))), count)
        for key, old, new in unlike(same, found):
            raise ConfigError(
                f"{key}={new} for every run would make it another experiment than the cell's "
                f"({old}): leave it out, or write a table of your own"
            )
    return _Settled(smaller, local, same, there)


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
    training: _Settled,
    compose: Composer,
    resolve: Resolver,
    scale: float,
    site: Site,
    processes: int | None,
) -> Evaluation:
    protocol, probe = cell.protocol, cell.probe
    if probe is None:
        return Evaluation(protocol, None, _knn_options(training, _words(site, cell.dataset)), None)
    dataset = protocol.dataset or cell.dataset

    def composed(*more: str) -> Any:
        given = [*protocol.overrides, *more, "pretrained_feature_extractor=none.ckpt"]
        return compose(str(probe.parent), probe.name, given)

    own = Evaluation(protocol, probe, [], None)
    count = processes if own.wide or processes is None else 1  # of a job that measures
    found = _settle(composed, resolve, scale, _local(site, dataset, processes), count)
    listed = [key for key in HEADS if isinstance(get(found.identity, key), list)]
    if listed and get(found.identity, "probe.holdout") is None:
        raise ConfigError(
            f"{listed[0]} is a list and probe.holdout is null: no head would be the cell's figure; "
            "give a share, such as 0.1"
        )
    own.overrides = [*protocol.overrides, *found.smaller, *found.local]
    own.identity, own.paths = found.identity, found.paths
    return own


def _knn_options(training: _Settled, words: Sequence[str]) -> list[str]:
    """Of images that lie elsewhere than where the run had them: by the site's ``words``."""
    given = {_key(word) for word in words}
    values = {key: get(training.there, key) for key in _KNN_OPTIONS if key in given}
    single = {key: value for key, value in values.items() if isinstance(value, str | int)}
    return [word for key in single for word in (_KNN_OPTIONS[key], str(single[key]))]


def _words(site: Site, dataset: str) -> list[str]:
    return [*site.get("all", ()), *site.get(dataset, ())]


def _key(override: str) -> str:
    return override.lstrip("+~").partition("=")[0]


def _local(site: Site, dataset: str, processes: int | None) -> list[str]:
    """The machine's overrides; where a job says how many processes there are, without those."""
    words = _words(site, dataset)
    return [w for w in words if processes is None or _key(w) not in _ALLOCATED]


def _add(training: Training, evaluation: Evaluation, cell: Cell) -> None:
    """To an evaluation that is the same, or as a new one."""
    for known in training.evaluations:
        if known.protocol.measurement == evaluation.protocol.measurement:
            known.cells.append(cell)
            return
    own = Evaluation(**{**vars(evaluation), "cells": [cell]})
    training.evaluations.append(own)

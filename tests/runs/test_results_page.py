# SPDX-License-Identifier: MIT
"""docs/results.md names every key and metric that runs leave behind."""

from __future__ import annotations

import re
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from omegaconf import OmegaConf

from mixmask_solo.records.registry.record import SCHEMA, read_run
from mixmask_solo.runs.linear import linear
from mixmask_solo.runs.pretrain import pretrain
from support.runs import result, rows
from support.tiny import config

PAGE = (Path(__file__).parents[2] / "docs" / "results.md").read_text()
NAMED = set(re.findall(r"`([^`\n]+)`", PAGE))
OPEN = ("config", "learning_rates")  # keys of recipes, of groups of parameters


@pytest.fixture(scope="module")
def folders(tmp_path_factory: pytest.TempPathFactory) -> list[Path]:
    """A run with a strategy, a momentum network and its classifier, and a probe of it."""
    root = tmp_path_factory.mktemp("runs")
    knn = {"enabled": True, "k": 5, "final": True}
    watched = {"knn_eval": knn, "health": {"enabled": True}, "log_every_n_steps": 1}
    cfg = config(root, "byol", max_epochs=1, **watched)
    cfg.momentum.classifier = True
    run = Path(pretrain(cfg)["directory"])
    probe = {
        "name": "probe",
        "pretrained_feature_extractor": str(run),
        "data": {"dataset": "digits", "num_workers": 0},
        "optimizer": {"name": "sgd", "batch_size": 64, "lr": 0.1, "weight_decay": 0.0},
        "scheduler": {"name": "none"},
        "checkpoint": {"enabled": True, "dir": str(root)},
        "max_epochs": 1,
        "accelerator": "cpu",
        "limit_train_batches": 2,
    }
    return [run, Path(linear(OmegaConf.create(probe))["directory"])]


def keys(content: dict[str, Any]) -> Iterator[str]:
    for key, value in content.items():
        yield key
        parts = value if isinstance(value, list) else [value]
        for part in parts if key not in (*OPEN, *METRICS) else ():
            yield from keys(part) if isinstance(part, dict) else ()


METRICS = ("metrics", "best_metrics", "earlier_metrics")


def is_named(metric: str) -> bool:
    known = (re.sub(r"<\w+>", r"\\w+", name) for name in NAMED if re.fullmatch(r"[\w<>]+", name))
    return any(re.fullmatch(name, metric) for name in known)


def test_every_key_is_named(folders: list[Path]) -> None:
    for folder in folders:
        content = result(folder)
        assert set(keys(content)) <= NAMED, folder
        assert content["schema"] == SCHEMA
        assert next(iter(content)) == "schema"
        assert read_run(folder).state() == "completed"
    assert {"value", "epoch", "earlier_metrics", "error", "killed", "checksum"} <= NAMED


def test_every_metric_is_named(folders: list[Path]) -> None:
    for folder in folders:
        logged = {name.removesuffix("_step").removesuffix("_epoch") for name in rows(folder)[0]}
        told = {name for key in METRICS for name in result(folder).get(key, {})}
        unnamed = {name for name in logged | told if name and not is_named(name)}
        assert not unnamed, folder
        assert told
    assert not is_named("train_something")


def test_a_number_is_given_to_the_schema() -> None:
    assert f"**schema {SCHEMA}**" in PAGE

# SPDX-License-Identifier: MIT
"""A folder of runs as training and measuring leave them."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

from mixmask_solo.records.registry.record import read_run
from mixmask_solo.tables.match import Runs
from mixmask_solo.tables.training import Training

SCRIPTS = Path(__file__).parents[2] / "scripts"
TEXT = f"""
title: Two methods on digits
head: added
paper: a paper
where: Table 9
root: {SCRIPTS}
protocols:
  knn: {{command: mixmask-knn, metric: k-NN top-1, features: backbone, k: 20, temperature: 0.07}}
  adam: {{command: mixmask-linear, metric: linear top-1, recipe: linear/digits/adam}}
columns:
  - {{name: k-NN, dataset: digits, recipe: pretrain/digits/simclr, protocol: knn}}
  - {{name: linear, dataset: digits, recipe: pretrain/digits/simclr, protocol: adam}}
rows:
  - {{name: nothing, values: [90, 95.5]}}
  - {{name: MixMask, variant: _mixmask, values: [91.25, null]}}
"""


class Folder:
    """Runs as training and measuring leave them."""

    def __init__(self, root: Path) -> None:
        self.root = root

    def run(self, training: Training, seed: int, *, name: str = "", **more: Any) -> Path:
        """A completed pretraining; ``more`` are entries of its ``result.json``."""
        folder = self.root / "simclr" / (name or f"run-{len(list(self.root.rglob('result.json')))}")
        folder.mkdir(parents=True)
        (folder / "last.ckpt").write_bytes(b"")
        config = {**training.identity, "seed": seed}
        config.pop("processes")
        piece = {"started": "2026-01-01T10:00:00+00:00", "ended": "2026-01-01T11:00:00+00:00"}
        told = {"status": "completed", "seed": seed, "processes": 1, "pieces": [piece]}
        told |= {"config": config, "wall_seconds": 3600.0, **more}
        (folder / "result.json").write_text(json.dumps(told))
        return folder

    def knn(self, folder: Path, acc1: float, **more: Any) -> None:
        row = {"network": "trained", "features": "backbone", "distance": "cosine", "k": 20}
        row |= {"temperature": 0.07, "acc1": acc1, "acc5": 100.0, **more}
        told = {"rows": [row], "checkpoint": str(folder / "last.ckpt"), "evaluate": "online"}
        (folder / "knn.json").write_text(json.dumps({**told, "dataset": "digits"}))

    def probe(self, training: Training, of: Path, acc1: float, **more: Any) -> Path:
        """A completed probe of the run in ``of``."""
        same = next(e.identity for e in training.evaluations if e.identity)
        folder = self.root / "linear" / f"probe-{len(list(self.root.rglob('result.json')))}"
        folder.mkdir(parents=True)
        config = {**same, "pretrained_feature_extractor": str(of / "last.ckpt")}
        config |= {"backbone": {"name": "resnet10t"}}
        config.pop("processes")
        piece = {"started": "2026-01-01T12:00:00+00:00", "ended": "2026-01-01T12:10:00+00:00"}
        told = {"status": "completed", "seed": 5, "processes": 1, "pieces": [piece]}
        told |= {"config": config, "metrics": {"val_acc1": acc1}, **more}
        (folder / "result.json").write_text(json.dumps(told))
        return folder

    @property
    def runs(self) -> Runs:
        files = sorted(self.root.rglob("result.json"))
        return Runs(read_run(file.parent) for file in files)

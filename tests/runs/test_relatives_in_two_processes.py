# SPDX-License-Identifier: MIT
"""MSCN and saliency-guided masking on two processes: one network, masks of their own."""

from __future__ import annotations

import os
import sys
from pathlib import Path
from typing import Any

import pytest
import torch

from mixmask_solo.records.checkpoints import LAST
from mixmask_solo.runs.pretrain import pretrain
from mixmask_solo.strategies import mscn, saliency
from support.processes import run_two
from support.tiny import config, weights

BLOCKS: dict[str, dict[str, Any]] = {
    "mscn": {"patch_size": 8, "kernel": 5},
    "saliency": {"fill": "mean", "localizer": {"stage": 2}},
}
CLASSES: dict[str, Any] = {"mscn": mscn.MSCN, "saliency": saliency.Saliency}


def run(folder: Path, name: str, block: dict[str, Any], **more: Any) -> Path:
    short = {"max_epochs": 1, "limit_train_batches": 2, "limit_val_batches": 0, **more}
    kwargs = {"mixmask": None, name: block}
    made = pretrain(config(folder, "mocov2plus", method_kwargs=kwargs, **short))
    return Path(made.get("directory", folder))


def worker(rank: int, port: int, folder: Path, name: str) -> None:
    """One process of a run; writes the masked views that it compares, and its weights."""
    os.environ.update(MASTER_ADDR="127.0.0.1", MASTER_PORT=str(port), LOCAL_RANK=str(rank))
    seen: list[torch.Tensor] = []
    strategy = CLASSES[name]
    views = strategy.views

    def watched(self: Any, given: Any, step: Any) -> Any:
        made = views(self, given, step)
        seen.append(made.online[0].clone())
        return made

    strategy.views = watched
    block = dict(BLOCKS[name])
    if name == "saliency":
        block["localizer"] = {**block["localizer"], "from_run": str(folder / "earlier")}
    processes = {"accelerator": "cpu", "devices": 2, "strategy": "ddp"}
    run(folder / "runs", name, block, **processes)
    torch.save(seen, folder / f"{rank}.pt")


@pytest.mark.slow
@pytest.mark.parametrize("name", BLOCKS)
def test_two_processes_train_one_network(name: str, tmp_path: Path) -> None:
    if name == "saliency":
        run(tmp_path, "erase", {"grid_size": 2}).rename(tmp_path / "earlier")
    run_two(__file__, tmp_path, name)
    [checkpoint] = tmp_path.glob(f"runs/mocov2plus/*/{LAST}")
    assert all(value.isfinite().all() for value in weights(checkpoint).values())
    zero, one = (torch.load(tmp_path / f"{rank}.pt") for rank in range(2))
    assert len(zero) == len(one) == 2
    assert all(not torch.equal(a, b) for a, b in zip(zero, one, strict=True))


if __name__ == "__main__":
    worker(int(sys.argv[1]), int(sys.argv[2]), Path(sys.argv[3]), sys.argv[4])

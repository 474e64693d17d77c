# SPDX-License-Identifier: MIT
"""Whole runs with ADIOS: resumed bit for bit, in bfloat16, ended by its loss, in two processes."""

from __future__ import annotations

import json
import os
import sys
from pathlib import Path
from typing import Any

import pytest
import torch
from omegaconf import DictConfig

from mixmask_solo.config import ConfigError
from mixmask_solo.methods.own_steps import OwnOptimizer
from mixmask_solo.records.checkpoints import LAST, read_checkpoint, seal
from mixmask_solo.runs.pretrain import pretrain
from mixmask_solo.runs.readback import NonFiniteLoss
from support.processes import run_two
from support.tiny import config, interrupted

_SLOTS = "strategies.adios.occluder.slots.weight"


def adios(folder: Path, method: str, block: dict[str, Any], **more: Any) -> DictConfig:
    size = {"max_epochs": 2, "limit_train_batches": 2, "limit_val_batches": 0}
    small = [{"crop_size": 16, "num_crops": 2}]
    kwargs = {"mixmask": None, "adios": {"slots": 2, "lr": 0.3, **block}}
    return config(folder, method, method_kwargs=kwargs, augmentations=small, **(size | more))


def saved(result: dict[str, Any]) -> dict[str, Any]:
    return read_checkpoint(Path(result["directory"]) / LAST)


def same(a: Any, b: Any) -> bool:
    if isinstance(a, dict):
        return a.keys() == b.keys() and all(same(a[k], b[k]) for k in a)
    if isinstance(a, (list, tuple)):
        return len(a) == len(b) and all(map(same, a, b))
    return torch.equal(a, b) if isinstance(a, torch.Tensor) else bool(a == b)


@pytest.mark.parametrize(
    ("method", "block"),
    [("byol", {"single": True}), ("simclr", {"schedule": "simultaneous", "entropy": 0.2})],
)
def test_a_resumed_run_is_the_uninterrupted_one(
    method: str, block: dict[str, Any], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    straight = saved(pretrain(adios(tmp_path / "a", method, block)))
    cut = interrupted(monkeypatch, adios(tmp_path / "b", method, block))
    begun = read_checkpoint(cut)
    resumed = saved(pretrain(adios(tmp_path / "b", method, block, resume_from_checkpoint=str(cut))))
    for key in ("state_dict", "optimizer_states", "mixmask_solo_strategies"):
        assert same(straight[key], resumed[key]), key
    own = straight["mixmask_solo_strategies"]["adios"]
    assert any(state["momentum_buffer"].abs().sum() > 0 for state in own["state"].values())
    assert not torch.equal(straight["state_dict"][_SLOTS], begun["state_dict"][_SLOTS])


def test_a_checkpoint_without_the_occluders_optimiser_is_not_resumed(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    cut = interrupted(monkeypatch, adios(tmp_path, "simclr", {}))
    checkpoint = torch.load(cut, weights_only=False)
    del checkpoint["mixmask_solo_strategies"]
    torch.save(checkpoint, cut)
    seal(cut)
    with pytest.raises(ConfigError, match=r"no state of the optimiser of adios .*init_from"):
        pretrain(adios(tmp_path, "simclr", {}, resume_from_checkpoint=str(cut)))


def test_a_run_tells_areas_and_mask_loss(tmp_path: Path) -> None:
    result = pretrain(adios(tmp_path, "simsiam", {}, precision="bf16-mixed"))
    metrics = result["metrics"]
    assert 0 < metrics["train_adios_area_min"] <= 0.5 <= metrics["train_adios_area_max"] < 1
    assert {"train_adios_loss", "train_adios_mask_loss"} <= metrics.keys()
    stored = json.loads((Path(result["directory"]) / "args.json").read_text())
    block = stored["method_kwargs"]["adios"]
    assert (block["views"], block["pairing"], block["size"], block["depth"]) == (
        *("both", "pair"),
        *(16, 3),
    )
    assert (block["clean"], block["both_masked"], block["weight_decay"]) == (True, True, 1e-4)


def test_a_mask_loss_that_is_not_finite_ends_the_run(tmp_path: Path) -> None:
    with pytest.raises(NonFiniteLoss, match=r"epoch 1, batch 1 .*loss=-?\d.*mask_loss=inf"):
        pretrain(adios(tmp_path, "simclr", {"alpha": 3e38}))


def worker(rank: int, port: int, folder: Path) -> None:
    """One process of a run; writes the occluder's gradients before and after."""
    os.environ.update(MASTER_ADDR="127.0.0.1", MASTER_PORT=str(port), LOCAL_RANK=str(rank))
    seen: dict[str, list[torch.Tensor]] = {"before": [], "after": []}
    average = OwnOptimizer._average

    def watched(own: OwnOptimizer) -> None:
        for when in seen:
            seen[when].append(torch.cat([p.grad.flatten() for p in own.params]))  # type: ignore[union-attr]
            if when == "before":
                average(own)

    OwnOptimizer._average = watched  # type: ignore[method-assign]
    more = {"accelerator": "cpu", "devices": 2, "strategy": "ddp", "max_epochs": 1}
    cfg = adios(folder, "byol", {"single": True, "alpha": 0.1}, **more, limit_train_batches=3)
    pretrain(cfg)
    torch.save(seen, folder / f"{rank}.pt")


@pytest.mark.slow
def test_two_processes_share_one_occluder(tmp_path: Path) -> None:
    run_two(__file__, tmp_path)
    zero, one = (torch.load(tmp_path / f"{rank}.pt") for rank in range(2))
    assert len(zero["before"]) == 3
    for step in range(3):
        a, b = zero["before"][step], one["before"][step]
        assert not torch.allclose(a, b)
        torch.testing.assert_close(zero["after"][step], (a + b) / 2)
        assert torch.equal(zero["after"][step], one["after"][step])


if __name__ == "__main__":
    worker(int(sys.argv[1]), int(sys.argv[2]), Path(sys.argv[3]))

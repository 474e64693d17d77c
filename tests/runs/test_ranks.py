# SPDX-License-Identifier: MIT
"""Two processes of one run: what they send each other, and that they end together."""

import json
import os
import sys
from collections import Counter
from pathlib import Path
from typing import Any

import pytest
import torch
import torch.distributed as dist

from mixmask_solo.runs import ranks
from mixmask_solo.runs.pretrain import pretrain
from mixmask_solo.runs.readback import NonFiniteLoss, Readback
from support.processes import run_two
from support.tiny import config

STEPS = 50
_CALLS = ("all_reduce", "barrier", "broadcast", "_broadcast_coalesced")


def worker(rank: int, port: int, folder: Path, how: str, method: str) -> None:
    """One process of a run; writes what it saw."""
    os.environ.update(MASTER_ADDR="127.0.0.1", MASTER_PORT=str(port), LOCAL_RANK=str(rank))
    seen: dict[str, Any] = {"calls": [], "loss": [], "error": ""}
    calls: Counter[str] = Counter()
    if how == "broadcast":
        ranks.LocalBuffers.setup = lambda *_, **__: None  # type: ignore[method-assign]
    for name in _CALLS:
        setattr(dist, name, _counting(name, calls))
    state: dict[str, Any] = {}

    def look(self: Readback, trainer: Any, module: Any, outputs: Any, *rest: Any) -> None:
        loss = outputs["loss"]
        if how == "nan" and rank == 1 and trainer.global_step == 3:
            outputs = {"loss": loss * float("nan")}
        seen["calls"].append(dict(calls))
        seen["loss"].append(float(trainer.callback_metrics["train_nce_loss_step"]))
        state.update({k: v.clone() for k, v in module.state_dict().items()})
        original(self, trainer, module, outputs, *rest)

    original = Readback.on_train_batch_end
    Readback.on_train_batch_end = look  # type: ignore[method-assign]
    cfg = config(
        folder / how,
        method,
        accelerator="cpu",
        devices=2,
        strategy="ddp",
        max_epochs=1,
        limit_train_batches=STEPS if how != "nan" else 8,
        optimizer={"batch_size": 8},
        augmentations=[{"crop_size": 16, "num_crops": 2}],
    )
    try:
        seen["metrics"] = pretrain(cfg).get("metrics")
    except NonFiniteLoss as error:
        seen["error"] = str(error)
    (folder / f"{how}-{rank}.json").write_text(json.dumps(seen))
    torch.save(state, folder / f"{how}-{rank}.pt")


def _counting(name: str, calls: Counter[str]) -> Any:
    function = getattr(dist, name)

    def call(*args: Any, **kwargs: Any) -> Any:
        calls[name] += 1
        return function(*args, **kwargs)

    return call


def together(folder: Path, how: str, method: str) -> list[tuple[dict[str, Any], dict[str, Any]]]:
    """What either process saw, and its last state."""
    run_two(__file__, folder, how, method)
    return [
        (
            json.loads((folder / f"{how}-{rank}.json").read_text()),
            torch.load(folder / f"{how}-{rank}.pt"),
        )
        for rank in range(2)
    ]


@pytest.fixture(scope="module")
def moco(tmp_path_factory: pytest.TempPathFactory) -> Any:
    """Official MoCo, 50 steps."""
    return together(tmp_path_factory.mktemp("ranks"), "local", "mocov2")


@pytest.mark.slow
def test_a_step_sends_nothing_but_gradients_and_keys(moco: Any) -> None:
    for seen, _ in moco:
        first, last = (Counter(seen["calls"][step]) for step in (5, STEPS - 1))
        # once a step they agree, on the CPU, whether to go on
        assert last - first == Counter(all_reduce=STEPS - 6)


@pytest.mark.slow
def test_means_of_the_epoch_are_those_of_all_processes(moco: Any) -> None:
    (one, _), (two, _) = moco
    assert one["loss"] != two["loss"]
    mean = sum(one["loss"] + two["loss"]) / (2 * STEPS)
    assert one["metrics"]["train_nce_loss"] == pytest.approx(mean, rel=1e-6)


@pytest.mark.slow
def test_nothing_differs_where_buffers_are_not_sent(moco: Any, tmp_path: Path) -> None:
    """Bit for bit: weights, both networks, queue and pointer."""
    [(_, sent), _] = together(tmp_path, "broadcast", "mocov2")
    (_, zero), (_, one) = moco
    assert sent.keys() == zero.keys()
    assert all(torch.equal(sent[name], zero[name]) for name in sent)
    statistics = ("running_mean", "running_var")
    assert all(torch.equal(zero[k], one[k]) for k in zero if not k.endswith(statistics))
    assert not torch.equal(zero["backbone.bn1.running_mean"], one["backbone.bn1.running_mean"])


@pytest.mark.slow
def test_all_end_where_one_loss_is_not_finite(tmp_path: Path) -> None:
    [(zero, _), (one, _)] = together(tmp_path, "nan", "simclr")
    assert one["error"].startswith("the loss is not finite in epoch 1, batch ")
    assert zero["error"].startswith("the loss is not finite in rank 1")
    assert len(zero["loss"]) == len(one["loss"]) < 8


if __name__ == "__main__":
    worker(int(sys.argv[1]), int(sys.argv[2]), Path(sys.argv[3]), *sys.argv[4:])

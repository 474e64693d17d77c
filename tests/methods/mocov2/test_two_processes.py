# SPDX-License-Identifier: MIT
"""Keys shuffled over two gloo processes: everybody's own come back, all queues are one."""

from __future__ import annotations

import os
import socket
import subprocess
import sys
from pathlib import Path
from typing import Any

import torch
import torch.distributed as dist
from torch import Tensor, nn

from mixmask_solo.methods import get_methods
from support.methods import method_config

N, WORLD = 4, 2


def model() -> Any:
    """Symmetric MoCo whose norms use running statistics: rows do not depend on their batch."""
    torch.manual_seed(0)
    kwargs = {"queue_size": 4 * N * WORLD, "symmetric": True}
    cfg = method_config("mocov2", kwargs, optimizer={"batch_size": N})
    made = get_methods("builtin")["mocov2"](cfg).double()
    made.log = made.log_dict = lambda *_, **__: None
    for module in made.modules():
        if isinstance(module, nn.BatchNorm2d):
            module.eval()
    return made


def batch(rows: slice) -> list[Any]:
    generator = torch.Generator().manual_seed(4)
    views = torch.randn(2, N * WORLD, 3, 16, 16, generator=generator, dtype=torch.float64)
    views[:, :, 0, 0, 0] = torch.arange(N * WORLD)  # tells whose image it is
    index = torch.arange(N * WORLD)
    return [index[rows], [x[rows] for x in views], torch.full((N * WORLD,), -1)[rows]]


def worker(rank: int, port: int, folder: str) -> None:
    os.environ.update(MASTER_ADDR="127.0.0.1", MASTER_PORT=str(port))
    dist.init_process_group("gloo", rank=rank, world_size=WORLD)
    moco, mine = model(), batch(slice(rank * N, (rank + 1) * N))
    encoded: list[Tensor] = []
    moco.momentum_backbone.register_forward_hook(
        lambda _, x, __: encoded.append(x[0][:, 0, 0, 0].long())
    )
    keys = moco.momentum_forward(mine[1][0])
    losses = torch.stack([moco.training_step(mine, i).detach() for i in range(2)])
    content = {
        "keys": keys["z"],
        "feats": keys["feats"],
        "encoded": torch.stack(encoded),
        "losses": losses,
        "queue": moco.queue,
        "queue_ptr": moco.queue_ptr,
    }
    torch.save(content, Path(folder) / f"{rank}.pt")
    dist.destroy_process_group()


def test_two_processes_are_one(tmp_path: Path) -> None:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port = probe.getsockname()[1]
    command = [sys.executable, __file__, str(port), str(tmp_path)]
    path = os.pathsep.join(sys.path)  # tests/support is on it
    processes = [
        subprocess.Popen([*command, str(rank)], env=os.environ | {"PYTHONPATH": path})
        for rank in range(WORLD)
    ]
    whole, everything = model(), batch(slice(None))
    expected = whole.eval().momentum_forward(everything[1][0])
    losses = torch.stack([whole.training_step(everything, i).detach() for i in range(2)])
    assert [process.wait(timeout=120) for process in processes] == [0] * WORLD
    parts = [torch.load(tmp_path / f"{rank}.pt") for rank in range(WORLD)]

    for name, rows in (("keys", expected["z"]), ("feats", expected["feats"])):
        together = torch.cat([part[name] for part in parts])
        torch.testing.assert_close(together, rows, rtol=0, atol=1e-10)
    # Each process has encoded images of both, and together they have encoded each image once.
    for a, b in zip(*(part["encoded"] for part in parts), strict=True):
        assert sorted(torch.cat([a, b]).tolist()) == list(range(N * WORLD))
    assert any((part["encoded"] < N).any(1).all() for part in parts)
    assert parts[0]["encoded"].unique(dim=0).shape[0] > 1
    for part in parts:
        torch.testing.assert_close(part["queue"], whole.queue, rtol=0, atol=1e-10)
        assert part["queue_ptr"].tolist() == whole.queue_ptr.tolist() == [0]
    assert torch.equal(parts[0]["queue"], parts[1]["queue"])
    mean = torch.stack([part["losses"] for part in parts]).mean(0)
    torch.testing.assert_close(mean, losses, rtol=0, atol=1e-10)


if __name__ == "__main__":
    worker(int(sys.argv[3]), int(sys.argv[1]), sys.argv[2])

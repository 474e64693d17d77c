# SPDX-License-Identifier: MIT
"""Contrastive losses over two gloo processes equal one process with the whole batch."""

from __future__ import annotations

import os
import socket
import subprocess
import sys
import warnings
from pathlib import Path

import torch
import torch.distributed as dist

from mixmask_solo.objectives import (
    Share,
    gather,
    gather_keys,
    simclr,
    soft_in_batch_nce,
    soft_nt_xent,
)
from mixmask_solo.objectives.non_contrastive import barlow_twins, covariance, variance

N, WORLD = 4, 2


def losses(u, v, lam, partner, indexes):
    sources = [Share(None, lam), Share(partner, 1 - lam)]
    hard = {"negative": u.flip(1), "alpha": 2.0}
    return {
        "soft": soft_nt_xent(u, v, sources, 0.2),
        "query": soft_nt_xent(u, v, sources, 0.2, query_only=True),
        "hard": soft_nt_xent(u, v, sources, 0.2, **hard),
        "simclr": simclr(torch.cat([u, v]), indexes.repeat(2), 0.2),
        "anchor": soft_in_batch_nce(u, v, sources, 0.2, branch="anchor"),
        "candidate": soft_in_batch_nce(u, v, sources, 0.2, branch="candidate"),
        "vicreg": variance(u) + covariance(v) + variance(v) + covariance(u),
    }


def inputs():
    generator = torch.Generator().manual_seed(3)
    u, v = torch.randn(2, N * WORLD, 5, generator=generator, dtype=torch.float64)
    lam = torch.rand(N * WORLD, generator=generator, dtype=torch.float64)
    partner = torch.tensor([1, 2, 3, 0])  # within a process, as published
    return u, v, lam, partner


def worker(rank: int, port: int, folder: str) -> None:
    os.environ.update(MASTER_ADDR="127.0.0.1", MASTER_PORT=str(port))
    dist.init_process_group("gloo", rank=rank, world_size=WORLD)
    u, v, lam, partner = inputs()
    mine = slice(rank * N, (rank + 1) * N)
    u_, v_ = u[mine].clone().requires_grad_(), v[mine].clone().requires_grad_()
    result = {}
    warnings.simplefilter("error")  # nothing deprecated
    for name, loss in losses(u_, v_, lam[mine], partner, torch.arange(N) + rank * N).items():
        result[name] = (loss.detach(), *torch.autograd.grad(loss, (u_, v_)))
    loss = barlow_twins(u_, v_, 0.1, 0.5)
    result["barlow"] = (loss.detach(), *torch.autograd.grad(loss, (u_, v_)))
    keys = gather_keys(u[mine])
    assert torch.equal(keys, u)
    assert torch.equal(gather(u_), u)
    torch.save(result, Path(folder) / f"{rank}.pt")
    dist.destroy_process_group()


def test_two_processes_see_each_other(tmp_path):
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port = probe.getsockname()[1]
    command = [sys.executable, __file__, str(port), str(tmp_path)]
    processes = [subprocess.Popen([*command, str(rank)]) for rank in range(WORLD)]
    assert [process.wait(timeout=120) for process in processes] == [0] * WORLD
    parts = [torch.load(tmp_path / f"{r}.pt") for r in range(WORLD)]

    u, v, lam, partner = inputs()
    u, v = u.requires_grad_(), v.requires_grad_()
    everywhere = torch.cat([partner, partner + N])
    for name, loss in losses(u, v, lam, everywhere, torch.arange(N * WORLD)).items():
        torch.testing.assert_close(torch.stack([p[name][0] for p in parts]).mean(), loss)
        # Each process's loss is a mean over its own rows; averaging as DDP does gives the whole.
        for i, whole in enumerate(torch.autograd.grad(loss, (u, v)), start=1):
            torch.testing.assert_close(torch.cat([p[name][i] for p in parts]) / WORLD, whole)

    # Barlow Twins standardises within a process and averages correlations.
    standard = [
        (x.reshape(WORLD, N, 5) - x.reshape(WORLD, N, 5).mean(1, keepdim=True))
        / (x.reshape(WORLD, N, 5).var(1, keepdim=True, unbiased=False) + 1e-5).sqrt()
        for x in (u, v)
    ]
    correlation = torch.einsum("rni,rnj->ij", *standard) / (N * WORLD)
    weight = torch.full((5, 5), 0.1).fill_diagonal_(1.0)
    loss = 0.5 * (weight * (correlation - torch.eye(5)).square()).sum()
    for i, whole in enumerate([loss, *torch.autograd.grad(loss, (u, v))]):
        got = [p["barlow"][i] for p in parts]
        torch.testing.assert_close(torch.cat(got) if i else got[0], whole.detach())


def test_a_single_process_gathers_nothing():
    x = torch.randn(3, 2, requires_grad=True)
    assert gather(x) is x
    assert not gather_keys(x).requires_grad


if __name__ == "__main__":
    worker(int(sys.argv[3]), int(sys.argv[1]), sys.argv[2])

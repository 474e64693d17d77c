# SPDX-License-Identifier: MIT
"""Figures of the embeddings that a step leaves behind."""

from __future__ import annotations

import math
from types import SimpleNamespace
from typing import Any

import pytest
import torch
from torch import Tensor, nn

from mixmask_solo.evaluation.health import alignment, rankme, uniformity
from mixmask_solo.methods import get_method
from mixmask_solo.runs import embedding
from mixmask_solo.runs.embedding import EmbeddingHealth
from support.methods import HEADS, method_config


def trainer(world: int = 1) -> Any:
    return SimpleNamespace(world_size=world)


class Method(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.embedded: Any = None
        self.logged: list[tuple[str, float]] = []

    def log(self, name: str, value: Tensor, **options: Any) -> None:
        self.logged.append((name, float(value)))

    def log_dict(self, values: dict[str, Tensor]) -> None:
        for name, value in values.items():
            self.log(name, value)


def steps(callback: Any, method: Any, pairs: list[Any], at: Any = None) -> None:
    for index, pair in enumerate(pairs):
        method.embedded = pair
        callback.on_train_batch_end(at or trainer(), method, None, None, index)


def slow(z: Tensor) -> float:
    rows = [[v / math.sqrt(sum(w**2 for w in row)) for v in row] for row in z.tolist()]
    stds = []
    for column in zip(*rows, strict=True):
        mean = sum(column) / len(column)
        stds.append(math.sqrt(sum((v - mean) ** 2 for v in column) / (len(column) - 1)))
    return sum(stds) / len(stds)


def drawn(n: int = 5) -> tuple[Tensor, Tensor]:
    return torch.randn(n, 3), torch.randn(n, 3)


def test_every_so_many_batches_it_logs_the_spread_of_the_first_view() -> None:
    callback, method = EmbeddingHealth(every=2), Method()
    pairs = [drawn() for _ in range(3)]
    steps(callback, method, pairs)
    expected = [pytest.approx(slow(pairs[i][0]), rel=1e-5) for i in (0, 2)]
    assert method.logged == [("train_embedding_std", value) for value in expected]
    callback.on_train_epoch_end(trainer(), method)  # type: ignore[arg-type]
    assert len(method.logged) == 2  # nothing is kept, nothing is measured


@pytest.mark.parametrize(("images", "batches"), [(1, 1), (5, 1), (6, 2), (10, 2), (99, 4)])
def test_the_last_whole_batches_of_an_epoch_are_measured(images: int, batches: int) -> None:
    callback, method = EmbeddingHealth(every=1000, images=images), Method()
    for _ in range(2):  # the second epoch knows nothing of the first
        pairs = [drawn() for _ in range(4)]
        method.logged = []
        steps(callback, method, pairs)
        method.logged = []
        callback.on_train_epoch_end(trainer(), method)  # type: ignore[arg-type]
        x, y = (torch.cat(views) for views in zip(*pairs[-batches:], strict=True))
        assert dict(method.logged) == {
            "train_embedding_rank": pytest.approx(float(rankme(x))),
            "train_embedding_uniformity": pytest.approx(float(uniformity(x))),
            "train_embedding_alignment": pytest.approx(float(alignment(x, y))),
        }


def test_processes_share_the_number_of_images_and_measure_all(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """The second one has the same rows, negated."""
    monkeypatch.setattr(embedding, "gather_keys", lambda z: torch.cat([z, -z]))
    callback, method = EmbeddingHealth(every=1000, images=20), Method()
    pairs = [drawn() for _ in range(4)]
    at = trainer(2)
    steps(callback, method, pairs, at)
    method.logged = []
    callback.on_train_epoch_end(at, method)  # type: ignore[arg-type]
    x = torch.cat([pairs[2][0], pairs[3][0]])
    everywhere = torch.cat([x, -x])
    assert dict(method.logged)["train_embedding_uniformity"] == pytest.approx(
        float(uniformity(everywhere))
    )


def test_a_part_of_an_epoch_is_taken_up_again() -> None:
    pairs = [drawn() for _ in range(4)]
    whole, one, two = (EmbeddingHealth(images=12) for _ in range(3))
    for callback, its in ((whole, pairs), (one, pairs[:3])):
        steps(callback, Method(), its)
    two.take(one.part(), torch.device("cpu"))
    steps(two, Method(), pairs[3:])
    logged = []
    for callback in (whole, two):
        method = Method()
        callback.on_train_epoch_end(trainer(), method)  # type: ignore[arg-type]
        logged.append(method.logged)
    assert logged[0] == logged[1]
    off = EmbeddingHealth()
    off.take(one.part(), torch.device("cpu"))
    assert off.part() == []


def test_embeddings_that_are_not_finite_are_left_to_the_loss() -> None:
    callback, method = EmbeddingHealth(images=4), Method()
    steps(callback, method, [(torch.full((4, 3), math.nan), torch.ones(4, 3))])
    method.logged = []
    callback.on_train_epoch_end(trainer(), method)  # type: ignore[arg-type]
    assert method.logged == []


@pytest.mark.parametrize("block", [{}, {"mixmask": {"grid_size": 2}}])
@pytest.mark.parametrize("name", list(HEADS))
def test_every_method_leaves_z_of_a_positive_pair(name: str, block: dict[str, Any]) -> None:
    """MoCo v2's second view passes the key encoder alone: its key is the positive."""
    torch.manual_seed(0)
    split = {"symmetric": False, "bn_splits": 1} if name == "mocov2" else {}
    method: Any = get_method(name, "builtin")(method_config(name, {**split, **block}))
    seen: list[Tensor] = []
    method.projector.register_forward_hook(lambda *args: seen.append(args[2].detach()))
    keys: list[Tensor] = []
    if name == "mocov2":
        method.momentum_projector.register_forward_hook(lambda *args: keys.append(args[2]))
    views = [torch.randn(8, 3, 32, 32) for _ in range(2)]
    method.training_step([torch.arange(8), views, torch.zeros(8, dtype=torch.int64)], 0)
    x, y = method.embedded
    assert not x.requires_grad
    assert not y.requires_grad
    cosine = torch.nn.functional.cosine_similarity
    assert torch.allclose(cosine(x, seen[0]), torch.ones(8), atol=1e-5)
    if name == "mocov2":  # they were encoded in another order
        near = torch.nn.functional.normalize(keys[0], dim=1) @ y.T
        assert torch.allclose(near.max(dim=0).values, torch.ones(8), atol=1e-5)
    else:
        assert torch.allclose(cosine(y, seen[1]), torch.ones(8), atol=1e-5)

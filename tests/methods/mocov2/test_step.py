# SPDX-License-Identifier: MIT
"""One step of the real class: passes, shuffles, queue, what is refused."""

from __future__ import annotations

from typing import Any

import pytest
import torch
from lightning.pytorch import Trainer
from torch import Tensor, nn
from torch.utils.data import DataLoader, TensorDataset

from mixmask_solo.config import ConfigError
from mixmask_solo.methods import get_methods
from mixmask_solo.methods.moco_passes import Permutations
from mixmask_solo.networks import SplitBatchNorm2d
from mixmask_solo.strategies import Step


def freeze_norms(model: nn.Module) -> None:
    """BatchNorm by its running statistics: rows no longer depend on their batch."""
    for module in model.modules():
        if isinstance(module, nn.modules.batchnorm._BatchNorm):
            module.eval()


def test_outputs_of_the_step_base(make_model: Any, batch: Any) -> None:
    for symmetric, views in ((False, 1), (True, 2)):
        model = make_model(symmetric=symmetric)
        seen: dict[str, Any] = {}
        base = type(model).step_base
        step = base.training_step
        out = step(model, batch, 0)
        seen.update(out)
        for key, shape in {"feats": (8, 512), "logits": (8, 10), "z": (8, 8)}.items():
            assert [tuple(rows.shape) for rows in seen[key]] == [shape] * views
        assert [tuple(rows.shape) for rows in seen["momentum_z"]] == [(8, 8)] * views
        assert all(seen[key].ndim == 0 for key in ("loss", "acc1", "acc5"))


def test_keys_come_back_in_the_order_of_their_images(make_model: Any, batch: Any) -> None:
    model = make_model().double()
    freeze_norms(model)
    x = batch[1][0].double()
    shuffled, fresh = model.momentum_forward(x), model.eval().momentum_forward(x)
    for name in ("feats", "z"):
        torch.testing.assert_close(shuffled[name], fresh[name], rtol=0, atol=1e-12)
    assert not shuffled["z"].requires_grad
    torch.testing.assert_close(shuffled["z"].norm(dim=1), torch.ones(8).double())


def test_shuffling_changes_who_is_normed_together(make_model: Any, batch: Any) -> None:
    x = batch[1][0]
    with_, without = (make_model(bn_splits=2, shuffle=s).momentum_forward(x) for s in (True, False))
    assert (with_["z"] - without["z"]).abs().max() > 1e-3
    one_group = [make_model(shuffle=s).momentum_forward(x)["z"] for s in (True, False)]
    torch.testing.assert_close(*one_group, rtol=1e-3, atol=1e-4)


def drawn(seed: int, epoch: int, batch: int, rank: int = 0, calls: int = 2) -> list[list[int]]:
    permutations = Permutations(Step(seed, epoch, batch, rank, torch.device("cpu")))
    return [permutations.next(32, torch.device("cpu")).tolist() for _ in range(calls)]


def test_each_key_batch_has_a_permutation_of_its_own() -> None:
    first = drawn(1, 0, 0)
    assert sorted(first[0]) == list(range(32))
    others = [drawn(1, 0, 0)[1], *drawn(2, 0, 0), *drawn(1, 1, 0), *drawn(1, 0, 1)]
    assert all(first[0] != other for other in others)
    assert first == drawn(1, 0, 0) == drawn(1, 0, 0, rank=3)


def test_a_step_draws_the_same_permutations_when_repeated(make_model: Any, batch: Any) -> None:
    orders: list[Any] = []
    model = make_model(symmetric=True, bn_splits=2)
    model.momentum_backbone.register_forward_hook(lambda _, x, __: orders.append(x[0][:, 0, 0, 0]))
    for batch_idx in (3, 3, 4):
        model.training_step(batch, batch_idx)
    assert torch.equal(torch.stack(orders[:2]), torch.stack(orders[2:4]))
    assert not torch.equal(torch.stack(orders[:2]), torch.stack(orders[4:]))


def test_queue_starts_with_unit_columns_and_takes_both_keys_in_order(
    make_model: Any, batch: Any
) -> None:
    model = make_model(symmetric=True)
    torch.testing.assert_close(model.queue.norm(dim=0), torch.ones(32))
    freeze_norms(model)
    keys = torch.cat([model.momentum_forward(x)["z"] for x in batch[1]])
    storage = model.queue.data_ptr()
    model.training_step(batch, 0)
    torch.testing.assert_close(model.queue[:, :16].T, keys)
    model.training_step(batch, 1)
    assert model.queue_ptr.tolist() == [0]
    assert model.queue.data_ptr() == storage


def test_a_loaded_pointer_is_used(make_model: Any, batch: Any) -> None:
    model, other = make_model(), make_model()
    model.training_step(batch, 0)
    other.training_step(batch, 0)
    other.training_step(batch, 0)
    other.load_state_dict(model.state_dict())
    other.training_step(batch, 1)
    assert other.queue_ptr.tolist() == [16]


def test_projectors(make_model: Any) -> None:
    def names(**kwargs: Any) -> list[str]:
        return [n for n in make_model(**kwargs).state_dict() if n.startswith("projector")]

    assert names() == ["projector.weight", "projector.bias"]
    mlp = names(projector="mlp", proj_hidden_dim=16)
    assert mlp == [f"projector.{i}.{n}" for i in (0, 2) for n in ("weight", "bias")]


def test_split_norm_is_in_both_encoders_and_leaves_no_trace(make_model: Any) -> None:
    model = make_model(bn_splits=4)
    for encoder in (model.backbone, model.momentum_backbone):
        norms = [m for m in encoder.modules() if isinstance(m, nn.BatchNorm2d)]
        assert norms
        assert all(isinstance(m, SplitBatchNorm2d) and m.splits == 4 for m in norms)
    plain = make_model().state_dict()
    assert list(model.state_dict()) == list(plain)
    assert all(torch.equal(a, plain[n]) for n, a in model.state_dict().items())


def loader(n: int) -> DataLoader[Any]:
    views = [torch.randn(n, 3, 8, 8) for _ in range(2)]
    data = TensorDataset(torch.arange(n), *views, torch.arange(n) % 10)

    def collate(rows: list[tuple[Tensor, ...]]) -> list[Any]:
        index, a, b, y = (torch.stack(column) for column in zip(*rows, strict=True))
        return [index, [a, b], y]

    return DataLoader(data, 8, collate_fn=collate)


@pytest.mark.filterwarnings("ignore")
def test_gradient_accumulation(make_cfg: Any, tmp_path: Any) -> None:
    """Four batches, two optimiser steps: two averages, but four moves of the queue."""
    cfg = make_cfg()
    cfg.accumulate_grad_batches = 2
    model = get_methods("builtin")["mocov2"](cfg)
    taus: list[float] = []
    update = model.momentum_updater.update
    model.momentum_updater.update = lambda *pair: (
        taus.append(model.momentum_updater.cur_tau),
        update(*pair),
    )
    Trainer(
        max_epochs=1,
        accelerator="cpu",
        logger=False,
        default_root_dir=tmp_path,
        enable_checkpointing=False,
        enable_progress_bar=False,
        enable_model_summary=False,
        accumulate_grad_batches=2,
    ).fit(model, loader(24))
    assert taus == [0.999] * 4  # of backbone and projector
    assert model.queue_ptr.tolist() == [24]


@pytest.mark.parametrize(
    ("changes", "line"),
    [
        ({"momentum": {"classifier": True}}, r"momentum\.classifier is true"),
        ({"data": {"num_small_crops": 2}}, "2 large and 2 small .* exactly 2"),
        ({"data": {"num_large_crops": 3}}, "3 large and 0 small"),
        ({"bn_splits": 3}, r"bn_splits is 3: it must divide optimizer\.batch_size"),
        ({"bn_splits": 2, "sync_batchnorm": True}, "sync_batchnorm is true"),
        ({"temprature": 0.1}, "unknown key method_kwargs.temprature"),
        ({"mixmask": {"targets": "both"}}, r"mixmask\.targets is both"),
    ],
)
def test_impossible_keys_stop_without_our_commands_too(
    make_cfg: Any, changes: dict[str, Any], line: str
) -> None:
    with pytest.raises(ConfigError, match=line):
        get_methods("builtin")["mocov2"](make_cfg(**changes))


def test_a_network_without_batch_norm_is_refused(make_cfg: Any) -> None:
    with pytest.raises(ValueError, match="it has no BatchNorm2d"):
        get_methods("builtin")["mocov2"](make_cfg(backbone={"name": "convnext_atto"}, bn_splits=2))


def test_wrong_batches_are_refused(make_model: Any, batch: Any) -> None:
    model = make_model()
    with pytest.raises(ValueError, match="the batch has 3 views: mocov2 wants exactly 2"):
        model.training_step([batch[0], [*batch[1], batch[1][0]], batch[2]], 0)
    with pytest.raises(ValueError, match="the batch has 1 views"):
        model.training_step([batch[0], batch[1][0], batch[2]], 0)
    small = [batch[0][:5], [x[:5] for x in batch[1]], batch[2][:5]]
    with pytest.raises(ValueError, match=r"queue_size is 32: .* 5 images"):
        model.training_step(small, 0)


def test_autocast_gives_float32_losses(make_model: Any, batch: Any) -> None:
    model = make_model(symmetric=True, bn_splits=2, mixmask={"grid_size": 2})
    with torch.autocast("cpu", torch.bfloat16):
        loss = model.training_step(batch, 0)
    loss.backward()
    assert loss.dtype == torch.float32
    assert torch.isfinite(loss)

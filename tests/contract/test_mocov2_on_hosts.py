# SPDX-License-Identifier: MIT
"""Official MoCo's asymmetric form and its k-NN on projections, on either host."""

from __future__ import annotations

from typing import Any

import pytest
import torch

from mixmask_solo.methods import get_methods

ASYMMETRIC = {
    "method_kwargs.symmetric": False,
    "method_kwargs.projector": "mlp",
    "method_kwargs.mixmask": {"grid_size": 4},
    "knn_eval": {"enabled": True, "k": 2, "features": "projector"},
}


def step(name: str, cfg: Any, batch: Any, state: Any = None) -> tuple[Any, Any]:
    torch.manual_seed(0)
    model = get_methods(name)["mocov2"](cfg)
    if state is not None:
        model.load_state_dict(state)
    model.log = model.log_dict = lambda *_, **__: None
    model.double()
    indexes, views, _ = batch
    loss = model.training_step([indexes, [v.double() for v in views], torch.arange(4) - 1], 3)
    loss.backward()
    return model, loss


@pytest.mark.filterwarnings("ignore")
def test_a_step_and_what_its_knn_gets(host, make_cfg, batch):
    model, loss = step(host.name, make_cfg("mocov2", **ASYMMETRIC), batch)
    assert torch.isfinite(loss)
    assert model.knn_eval
    assert torch.cat(list(model.knn.train_targets)).tolist() == [0, 1, 2]  # -1 is no label
    with torch.no_grad():
        out = model.base_validation_step(batch[1][0].double(), batch[2])
    train = torch.cat(list(model.knn.train_features))
    assert train.shape == (3, 32)
    assert out["feats"].shape == (4, 32)
    assert torch.allclose(train.norm(dim=1), torch.ones(3).double())


@pytest.mark.solo
@pytest.mark.filterwarnings("ignore")
@pytest.mark.parametrize("symmetric", [False, True])
def test_both_hosts_give_the_same(solo_host, make_cfg, batch, symmetric):
    cfg = make_cfg("mocov2", **ASYMMETRIC | {"method_kwargs.symmetric": symmetric})
    torch.manual_seed(0)
    start = get_methods("solo")["mocov2"](cfg).state_dict()
    theirs, expected = step("solo", cfg, batch, start)
    ours, loss = step("builtin", cfg, batch, start)
    torch.testing.assert_close(loss, expected, rtol=1e-9, atol=1e-9)
    torch.testing.assert_close(ours.queue, theirs.queue, rtol=0, atol=1e-9)
    theirs_now = theirs.state_dict()
    for name, value in ours.state_dict().items():
        if "running" in name or "num_batches" in name:
            torch.testing.assert_close(value, theirs_now[name], rtol=0, atol=1e-9, msg=name)
    for (name, p), q in zip(ours.named_parameters(), theirs.parameters(), strict=True):
        if p.grad is not None and q.grad is not None:
            torch.testing.assert_close(p.grad, q.grad, rtol=1e-6, atol=1e-8, msg=name)

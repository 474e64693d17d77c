# SPDX-License-Identifier: MIT
"""What a strategy's hooks reach on either host: both networks, validation, optimiser, loss."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest
import torch
import torch.nn.functional as F
from omegaconf import DictConfig
from torch import Tensor

from mixmask_solo.config import ConfigError
from mixmask_solo.host import Host
from mixmask_solo.methods import get_methods
from support.strategies import Centre, hard, mask, registered  # noqa: F401

pytestmark = [pytest.mark.filterwarnings("ignore"), pytest.mark.usefixtures("registered")]
Make = Callable[..., Any]


@pytest.fixture
def make(host: Host, make_cfg: Callable[..., DictConfig]) -> Make:
    """``make(method, **kwargs)``: with these blocks, in double precision, silent."""

    def make(method: str, **kwargs: Any) -> Any:
        torch.manual_seed(0)
        changes = {f"method_kwargs.{key}": value for key, value in kwargs.items()}
        model = get_methods(host.name)[method](make_cfg(method, **changes))
        model.log = model.log_dict = lambda *_, **__: None
        return model.double()

    return make


@pytest.fixture
def data(batch: list[Any]) -> list[Any]:
    indexes, views, labels = batch
    return [indexes, [v.double() for v in views], labels]


def inputs(network: Any) -> list[Tensor]:
    """What a network gets, from now on."""
    seen: list[Tensor] = []
    network.register_forward_pre_hook(lambda _, args: seen.append(args[0].detach().clone()))
    return seen


@pytest.mark.parametrize("symmetric", [True, False])
@pytest.mark.parametrize("method", ["byol", "mocov2", "mocov2plus"])
def test_the_momentum_network_sees_clean_views(
    method: str, symmetric: bool, make: Make, data: list[Any]
) -> None:
    if not symmetric and method != "mocov2":
        pytest.skip("has one form")
    changes = {"symmetric": symmetric} if method == "mocov2" else {}
    model = make(method, dimmer={}, **changes)
    online, momentum = inputs(model.backbone), inputs(model.momentum_backbone)
    model.training_step(data, 0)
    x1, x2 = data[1]
    share = model.strategies["dimmer"].share.detach()
    goals = [x1, x2] if symmetric else [x2]
    for seen, x in zip(online, [x1, x2] if symmetric else [x1], strict=True):
        torch.testing.assert_close(seen, x * share)
    if method == "mocov2":  # shuffled, and k² before k¹
        momentum, goals = ([x.sort(0).values for x in xs] for xs in (momentum[::-1], goals))
    assert len(momentum) == len(goals)
    assert all(torch.equal(seen, x) for seen, x in zip(momentum, goals, strict=True))
    assert not model._online


def test_its_parameters_are_learnt_and_part_of_the_checkpoint(
    method: str, make: Make, data: list[Any]
) -> None:
    plain, model = make(method), make(method, dimmer={"lr": 0.5})
    assert model.state_dict().keys() - plain.state_dict().keys() == {"strategies.dimmer.share"}
    for name, value in plain.state_dict().items():  # the method starts as it does without
        assert torch.equal(model.state_dict()[name], value), name
    groups = {g["name"]: {**g, "params": list(g["params"])} for g in model.learnable_params}
    assert groups["dimmer"]["lr"] == 0.5
    optimizer = torch.optim.SGD(list(groups.values()), lr=0.1)
    before = model.strategies["dimmer"].share.item()
    model.training_step(data, 0).backward()
    optimizer.step()
    assert model.strategies["dimmer"].share.item() != before
    again = make(method, dimmer={"lr": 0.5})
    assert again.strategies["dimmer"].share.item() == before
    again.load_state_dict(model.state_dict())
    assert torch.equal(again.strategies["dimmer"].share, model.strategies["dimmer"].share)


def test_a_filter_comes_first_in_training_and_in_validation(
    method: str, make: Make, data: list[Any]
) -> None:
    model = make(method, centred={"factor": 0.5})
    online = inputs(model.backbone)
    model.training_step(data, 0)
    expected = [Centre(0.5)(x) for x in data[1]]
    views = model.strategies["centred"].seen
    assert all(torch.equal(a, b) for a, b in zip(views.loaded, data[1], strict=True))
    for seen in (views.online, views.momentum, [*online[:1], online[-1]]):
        for x, goal in zip(seen, expected, strict=True):
            torch.testing.assert_close(x, goal)
    online.clear()
    model.eval()
    model.validation_step([data[1][0], data[2]], 0)
    torch.testing.assert_close(online[0], expected[0])


def classifier(model: Any, views: list[Tensor], labels: Tensor) -> Tensor:
    losses = [F.cross_entropy(model(x)["logits"], labels) for x in views]
    return torch.stack(losses).mean()


def infonce(query: Tensor, positive: Tensor, rest: Tensor, negative: Tensor) -> Tensor:
    """Cross entropy of K + 2 logits, one query at a time; ``negative`` counts double."""
    losses = []
    for i, q in enumerate(query):
        logits = torch.stack([q @ positive[i], *(q @ r for r in rest[i]), 2.0 * (q @ negative[i])])
        losses.append(-torch.log_softmax(logits / 0.2, 0)[0])
    return torch.stack(losses)


@pytest.mark.parametrize("symmetric", [True, False])
@pytest.mark.parametrize("method", ["mocov2", "mocov2plus", "simclr"])
def test_hard_negatives_of_the_methods_own_queries(
    method: str, symmetric: bool, make: Make, data: list[Any]
) -> None:
    """Saliency's loss: K + 2 logits, the queries masked, the keys clean; gradients included."""
    if not symmetric and method != "mocov2":
        pytest.skip("has one form")
    queries = 2 if symmetric else 1
    changes = {"symmetric": symmetric} if method == "mocov2" else {}
    model = make(method, harder={"queries": queries}, temperature=0.2, **changes)
    model.eval()  # so that the very same projections come out again
    (x1, x2), labels = data[1], data[2]
    masked = [mask(x1), mask(x2)]
    z = [F.normalize(model(x)["z"], dim=1) for x in masked]
    terms = []
    for v in range(queries):
        clean = [x2, x1][v]
        if method == "simclr":
            hardest = F.normalize(model(hard(clean))["z"], dim=1).detach()
            others = [torch.cat([z[v], z[1 - v]])] * 4
            rest = [torch.stack([r for j, r in enumerate(o) if j not in (i, i + 4)])
                    for i, o in enumerate(others)]  # fmt: skip
            key = z[1 - v]
        else:
            hardest = model.momentum_forward(hard(clean))["z"]
            queue = (model.queue[1 - v] if method == "mocov2plus" else model.queue).clone()
            rest, key = [queue.T] * 4, model.momentum_forward(clean)["z"]
        terms.append(infonce(z[v], key, rest, hardest).mean())
    total = torch.stack(terms).sum() if method == "mocov2" else torch.stack(terms).mean()
    expected = total + classifier(model, masked[:queries], labels)
    wanted = torch.autograd.grad(expected, list(model.backbone.parameters()))
    loss = model.training_step(data, 0)
    torch.testing.assert_close(loss, expected)
    torch.testing.assert_close(torch.autograd.grad(loss, list(model.backbone.parameters())), wanted)


@pytest.mark.parametrize("method", ["byol", "simsiam"])
def test_hard_negatives_are_refused_by_name_elsewhere(method: str, make: Make) -> None:
    with pytest.raises(
        ConfigError, match=rf"^method_kwargs\.harder makes hard .* {method}: .*"
    ) as e:
        make(method, harder={})
    assert "choose mocov2, mocov2plus or simclr" in str(e.value)

# SPDX-License-Identifier: MIT
"""Heads of htdt and PatrickHua: written out in plain torch, and invisible by default."""

from __future__ import annotations

from typing import Any

import pytest
import torch
import torch.nn.functional as F
from omegaconf import DictConfig
from torch import Tensor, nn

from mixmask_solo.config import ConfigError
from mixmask_solo.methods import get_methods
from mixmask_solo.strategies import Step, build_strategies
from support.methods import method_config

T, HIDDEN, EMB, N = 0.5, 16, 6, 6


def config(method: str, **kwargs: Any) -> DictConfig:
    sizes = {"proj_hidden_dim": HIDDEN, "proj_output_dim": EMB, "pred_hidden_dim": 12}
    return method_config(
        method,
        {**sizes, "temperature": T, "queue_size": 2 * N, **kwargs},
        backbone={"name": "resnet10t"},
        optimizer={"batch_size": N},
    )


def build(method: str, **kwargs: Any) -> Any:
    torch.manual_seed(0)
    model = get_methods("builtin")[method](config(method, **kwargs)).double()
    model.log = model.log_dict = lambda *_, **__: None
    return model


def batch(views: int = 2) -> list[Any]:
    g = torch.Generator().manual_seed(3)
    x = list(torch.randn(views, N, 3, 32, 32, generator=g, dtype=torch.float64))
    return [torch.arange(N), x, torch.arange(N) % 10]


def norm(x: Tensor) -> Tensor:
    return (x - x.mean(0)) / (x.var(0, unbiased=False) + 1e-5).sqrt()


def project(model: Any, *views: Tensor) -> Tensor:
    """Backbone view by view, then Linear, BN, ReLU, Linear, BN over all of them."""
    first, second = model.projector[0], model.projector[3]
    h = torch.cat([model.backbone(x) for x in views]) @ first.weight.T + first.bias
    return norm(norm(h).relu() @ second.weight.T + second.bias)


def two_view_loss(model: Any, a: Tensor, b: Tensor) -> Tensor:
    """Both batches through the head together, then NT-Xent anchor by anchor."""
    z = F.normalize(project(model, a, b), dim=1)
    losses = []
    for i in range(2 * N):
        logits = torch.stack([z[i] @ z[j] / T for j in range(2 * N) if j != i])
        losses.append(logits.logsumexp(0) - z[i] @ z[(i + N) % (2 * N)] / T)
    return torch.stack(losses).mean()


def class_loss(model: Any, x: list[Tensor], labels: Tensor) -> Tensor:
    losses = [F.cross_entropy(model.classifier(model.backbone(v)), labels) for v in x]
    return torch.stack(losses).mean()


def test_htdt_loss_is_nt_xent_of_jointly_projected_views() -> None:
    model, data = build("simclr", head="htdt"), batch()
    _, (x1, x2), labels = data
    expected = two_view_loss(model, x1, x2)
    loss = model.training_step(data, 0)
    torch.testing.assert_close(loss, expected + class_loss(model, [x1, x2], labels))
    loss.backward()
    for name, p in model.named_parameters():
        assert p.grad is not None, name
    # Norms that see one view after the other would give other projections.
    apart = torch.cat([project(model, x1), project(model, x2)])
    assert (apart - project(model, x1, x2)).abs().max() > 1e-3


def test_googles_head_normalises_each_layer_and_has_one_bias() -> None:
    model, x = build("simclr", head="google"), batch()[1]
    first, middle, _, second, last = model.projector
    assert (first.bias, second.bias) == (None, None)
    with torch.no_grad():
        middle.bias.uniform_(-1, 1)
        middle.weight.uniform_(0.5, 2)
        last.weight.uniform_(0.5, 2)
    h = norm(torch.cat([model.backbone(v) for v in x]) @ first.weight.T)
    h = (h * middle.weight + middle.bias).relu() @ second.weight.T
    joint = model.projector.joint([model.backbone(v) for v in x])
    torch.testing.assert_close(torch.cat(joint), norm(h) * last.weight)
    model.training_step(batch(), 0).backward()
    still = {name for name, p in model.named_parameters() if p.grad is None}
    assert still == {"projector.4.bias"}
    assert not last.bias.any()


@pytest.mark.parametrize("block", ["mixmask", "unmix"])
def test_htdt_mixture_is_three_full_passes(block: str) -> None:
    """loss(x1, x2) + λ·loss(x2, m) + (1 - λ)·loss(x2, m re-ordered), as Un-Mix words it."""
    options: dict[str, Any] = {"mixmask": {"grid_size": 4, "partner": "random"}, "unmix": {}}
    model, data = build("simclr", head="htdt", **{block: options[block]}), batch()
    _, (x1, x2), labels = data
    [strategy] = build_strategies(model.cfg)
    [made] = strategy.branches([x1, x2], Step(1, 0, 0, 0, torch.device("cpu")))
    images, lam, partner = made.mixture
    reordered = images[partner.argsort()]
    expected = two_view_loss(model, x1, x2) + lam[0] * two_view_loss(model, x2, images)
    expected = expected + (1 - lam[0]) * two_view_loss(model, x2, reordered)
    loss = model.training_step(data, 0)
    torch.testing.assert_close(loss, expected + class_loss(model, [x1, x2], labels))


def test_evaluation_uses_the_running_statistics() -> None:
    model, x = build("simclr", head="htdt"), batch()[1][0]
    model.training_step(batch(), 0)
    model.eval()
    z = model(x)["z"]
    layer_by_layer = model.backbone(x)
    for layer in model.projector:
        layer_by_layer = layer(layer_by_layer)
    torch.testing.assert_close(z, layer_by_layer)
    torch.testing.assert_close(model.multicrop_forward(x)["z"], z)
    assert model.projector[4].num_batches_tracked == 1
    assert torch.isfinite(model.training_step(batch(), 0))  # in evaluation mode too
    assert model.projector[4].num_batches_tracked == 1


def test_the_online_knn_on_projections_compares_normalised_ones() -> None:
    """Validation passes go through the norm, so the training features must, too."""
    torch.manual_seed(0)
    cfg = config("simclr", head="htdt", mixmask={"grid_size": 4})
    cfg.knn_eval = {"enabled": True, "k": 2, "distance_func": "cosine", "features": "projector"}
    model, seen = get_methods("builtin")["simclr"](cfg).double(), {}
    model.log = model.log_dict = lambda *_, **__: None
    model.knn.update = lambda **features: seen.update(features)
    _, (x1, x2), _ = data = batch()
    expected = project(model, x1, x2)
    model.training_step(data, 0)
    torch.testing.assert_close(seen["train_features"], expected)


def test_small_crops_are_normalised_with_the_others() -> None:
    torch.manual_seed(0)
    cfg = config("simclr", head="htdt", mixmask={"grid_size": 4})
    cfg.data.num_small_crops = 2
    model = get_methods("builtin")["simclr"](cfg).double()
    assert torch.isfinite(model.training_step(batch(views=4), 0))
    assert model.projector[4].num_batches_tracked == 2  # the views, and the one mixed pair


def test_patrickhua_projector_has_two_layers_with_trainable_norms() -> None:
    model, x = build("simsiam", head="patrickhua"), batch()[1][0]
    kinds = [nn.Linear, nn.BatchNorm1d, nn.ReLU, nn.Linear, nn.BatchNorm1d]
    assert [type(layer) for layer in model.projector] == kinds
    torch.testing.assert_close(model(x)["z"], project(model, x))
    model.training_step(batch(), 0).backward()
    assert all(p.grad is not None for p in model.parameters())
    assert [layer.out_features for layer in model.predictor if isinstance(layer, nn.Linear)] == [
        12,
        EMB,
    ]


@pytest.mark.parametrize("method", ["simclr", "simsiam"])
def test_solo_is_the_default_and_draws_nothing(method: str) -> None:
    states = []
    for kwargs in ({}, {"head": "solo"}):
        model = build(method, **kwargs)
        states.append((torch.get_rng_state(), model.state_dict()))
    assert torch.equal(states[0][0], states[1][0])
    assert list(states[0][1]) == list(states[1][1])
    assert all(torch.equal(states[0][1][k], states[1][1][k]) for k in states[0][1])


@pytest.mark.parametrize(("method", "head"), [("simclr", "htdt"), ("simsiam", "patrickhua")])
def test_backbone_and_classifier_start_as_with_the_hosts_head(method: str, head: str) -> None:
    plain, other = build(method).state_dict(), build(method, head=head).state_dict()
    shared = [k for k in plain if k.startswith(("backbone.", "classifier."))]
    assert all(torch.equal(plain[k], other[k]) for k in shared)


def test_the_head_is_trained_in_the_projectors_group() -> None:
    model = build("simclr", head="htdt")
    groups = {g["name"]: list(g["params"]) for g in model.learnable_params}
    assert list(groups) == ["backbone", "classifier", "projector"]
    assert {id(p) for p in groups["projector"]} == {id(p) for p in model.projector.parameters()}
    assert len(groups["projector"]) == 8


@pytest.mark.parametrize(
    ("method", "head", "fragments"),
    [
        ("simclr", "patrickhua", ["'patrickhua'", "solo, htdt or google"]),
        ("simsiam", "patrickhu", ["solo or patrickhua", "did you mean patrickhua"]),
        ("byol", "htdt", ["byol has one head only"]),
        ("mocov2plus", "htdt", ["mocov2plus has one head only"]),
    ],
)
def test_a_head_of_another_method_is_refused(method: str, head: str, fragments: list[str]) -> None:
    with pytest.raises(ConfigError, match=r"method_kwargs\.head is") as error:
        build(method, head=head)
    assert all(fragment in str(error.value) for fragment in fragments)

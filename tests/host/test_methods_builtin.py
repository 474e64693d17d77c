# SPDX-License-Identifier: MIT
"""Behaviour of the built-in methods beyond parity: crops, labels, precision, defaults, queue."""

from __future__ import annotations

import pytest
import torch

from mixmask_solo.host import load
from mixmask_solo.host.builtin import BaseMethod, BaseMomentumMethod
from mixmask_solo.objectives import byol, simclr

METHODS = ("byol", "mocov2plus", "simclr", "simsiam")
CROPS = {"data.num_large_crops": 2, "data.num_small_crops": 2}


def build(cfg):
    torch.manual_seed(0)
    return load("builtin").methods[cfg.method](cfg)


@pytest.mark.parametrize("method", METHODS)
def test_class_order(method):
    cls = load("builtin").methods[method]
    momentum = [BaseMomentumMethod] if method in ("byol", "mocov2plus") else []
    assert list(cls.__mro__[: 2 + len(momentum)]) == [cls, *momentum, BaseMethod]


def test_queue_size_defaults_to_solo_learns(make_cfg):
    cfg = make_cfg("mocov2plus")
    del cfg.method_kwargs["queue_size"]
    completed = load("builtin").methods["mocov2plus"].add_and_assert_specific_cfg(cfg)
    assert completed.method_kwargs.queue_size == 65536
    assert completed.momentum.classifier is False


def test_byol_multi_crop_pairs_every_momentum_view_with_all_other_views(make_cfg, make_batch):
    model, batch = build(make_cfg("byol", **CROPS)), make_batch([12, 12, 8, 8])
    total = model.training_step(batch, 0)
    again = build(make_cfg("byol", **CROPS))
    p = [again(x)["p"] for x in batch[1][:2]]
    p += [again.multicrop_forward(x)["p"] for x in batch[1][2:]]
    z = [again.momentum_forward(x)["z"] for x in batch[1][:2]]
    pairs = [(p[w], z[v]) for v in range(2) for w in range(4) if w != v]
    expected = sum(byol(*pair).mean() for pair in pairs)
    logits = torch.cat([again.classifier(x) for x in _feats(make_cfg, batch)])
    expected = expected + torch.nn.functional.cross_entropy(logits, batch[2].repeat(2))
    torch.testing.assert_close(total, expected, rtol=1e-4, atol=1e-5)


def _feats(make_cfg, batch):
    model = build(make_cfg("byol", **CROPS))
    return [model(x)["feats"].detach() for x in batch[1][:2]]


def test_simclr_multi_crop_is_one_loss_over_all_views(make_cfg, make_batch):
    model, batch = build(make_cfg("simclr", **CROPS)), make_batch([12, 12, 8, 8])
    logged = {}
    model.log = lambda name, value, **_: logged.update({name: value})
    model.training_step(batch, 0)
    again = build(make_cfg("simclr", **CROPS))
    z = [again(x)["z"] for x in batch[1][:2]]
    z += [again.multicrop_forward(x)["z"] for x in batch[1][2:]]
    expected = simclr(torch.cat(z), torch.arange(8).repeat(4), again.temperature)
    torch.testing.assert_close(logged["train_nce_loss"], expected, rtol=1e-4, atol=1e-5)


@pytest.mark.parametrize("method", METHODS)
def test_few_classes_and_no_labels(make_cfg, make_batch, method):
    """Three classes have no top-5; without labels the classifier adds nothing, not NaN."""
    model = build(make_cfg(method, **{"data.num_classes": 3}))
    batch = make_batch([12, 12], classes=3)
    logged = {}
    model.log = lambda name, value, **_: logged.update({name: value})
    batch[2] = torch.full((8,), -1)
    loss = model.training_step(batch, 0)
    assert loss.isfinite()
    assert logged["train_class_loss"] == 0
    loss.backward()
    assert model.classifier.weight.grad.eq(0).all()


@pytest.mark.parametrize("method", METHODS)
def test_losses_are_float32_in_mixed_precision(make_cfg, make_batch, method):
    model, batch = build(make_cfg(method)), make_batch([12, 12])
    exact = build(make_cfg(method)).training_step(batch, 0).detach()
    with torch.autocast("cpu", torch.bfloat16):
        loss = model.training_step(batch, 0)
    assert loss.dtype == torch.float32
    loss.backward()
    torch.testing.assert_close(loss.detach(), exact, rtol=0.1, atol=0.1)


def test_momentum_classifier_is_trained_beside(make_cfg, make_batch):
    model = build(make_cfg("byol", **{"momentum.classifier": True}))
    logged = {}
    model.log = lambda name, value, **_: logged.update({name: value})
    model.training_step(make_batch([12, 12]), 0).backward()
    assert model.momentum_classifier.weight.grad.abs().sum() > 0
    assert {"train_momentum_class_loss", "train_momentum_acc1", "train_momentum_acc5"} <= set(
        logged
    )
    assert model.learnable_params[2]["name"] == "momentum_classifier"
    assert all(not p.requires_grad for p in model.momentum_backbone.parameters())


def test_queue_size_has_to_be_a_multiple_of_the_batch(make_cfg, make_batch):
    model = build(make_cfg("mocov2plus", **{"method_kwargs.queue_size": 12}))
    with pytest.raises(ValueError, match=r"queue_size is 12: .* 8 images"):
        model.training_step(make_batch([12, 12]), 0)


def test_a_prepared_log_sum_exp_is_taken(make_cfg, make_batch, monkeypatch):
    model, batch = build(make_cfg("mocov2plus")), make_batch([12, 12])
    plain = build(make_cfg("mocov2plus")).training_step(batch, 0)
    base_step = BaseMomentumMethod.training_step

    def with_lse(self, batch, batch_idx):
        out = base_step(self, batch, batch_idx)
        out["queue_lse"] = [torch.full((8,), 1e4), torch.full((8,), 1e4)]
        return out

    monkeypatch.setattr(BaseMomentumMethod, "training_step", with_lse)
    assert model.training_step(batch, 0) > 1e3 > plain


def test_a_timm_backbone_trains(make_cfg, make_batch):
    model = build(make_cfg("simsiam", **{"backbone.name": "resnet10t"}))
    model.training_step(make_batch([32, 32]), 0).backward()
    assert model.features_dim == 512
    assert all(p.grad is not None for p in model.backbone.parameters())

# SPDX-License-Identifier: MIT
"""Behaviour of the built-in methods beyond parity: crops, labels, precision, defaults, queue."""

from __future__ import annotations

from copy import deepcopy

import pytest
import torch
from omegaconf import OmegaConf

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


@pytest.mark.parametrize("method", METHODS)
def test_a_step_needs_no_trainer_and_the_configuration_stays_as_it_was(
    make_cfg, make_batch, method, recwarn
):
    cfg = make_cfg(method)
    before = deepcopy(cfg)
    model = build(cfg)
    loss = model.training_step(make_batch([12, 12]), 0)
    loss.backward()
    assert loss.isfinite()
    assert cfg == before
    assert not [w for w in recwarn if "self.log" in str(w.message)]
    assert model.cfg.scheduler.warmup_epochs == 10
    assert model.cfg.knn_eval.distance_func == "euclidean"


def test_queue_size_defaults_to_solo_learns(make_cfg):
    cfg = make_cfg("mocov2plus")
    del cfg.method_kwargs["queue_size"]
    completed = load("builtin").methods["mocov2plus"].add_and_assert_specific_cfg(cfg)
    assert completed.method_kwargs.queue_size == 65536
    assert completed.momentum.classifier is False


@pytest.mark.parametrize(
    ("method", "key"),
    [
        ("byol", "method_kwargs.pred_hidden_dim"),
        ("simclr", "method_kwargs.temperature"),
        ("simsiam", "data.num_classes"),
        ("mocov2plus", "max_epochs"),
    ],
)
def test_missing_keys_are_named(make_cfg, method, key):
    cfg = make_cfg(method, **{key: None})
    with pytest.raises(ValueError, match=f"^{key} is missing"):
        build(cfg)


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


def test_wrong_number_of_views(make_cfg, make_batch):
    with pytest.raises(ValueError, match="has 3 views: the method wants 2"):
        build(make_cfg("simclr")).training_step(make_batch([12, 12, 12]), 0)


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


def test_queue_is_a_ring_and_its_pointer_survives_loading(make_cfg):
    cfg = make_cfg("mocov2plus", **{"method_kwargs.queue_size": 12})
    model = build(cfg)
    keys = torch.randn(4, 2, 4, 32)  # four steps, two views, four images
    for step in range(3):
        model._dequeue_and_enqueue(keys[step])
    torch.testing.assert_close(model.queue, keys[:3].permute(1, 3, 0, 2).reshape(2, 32, 12))
    assert model.queue_ptr.tolist() == [0]
    model._dequeue_and_enqueue(keys[3])
    other = build(cfg)
    other._dequeue_and_enqueue(keys[0])
    other._dequeue_and_enqueue(keys[0])
    other.load_state_dict(model.state_dict())
    other._dequeue_and_enqueue(keys[0])
    torch.testing.assert_close(other.queue[:, :, 4:8], keys[0].transpose(1, 2))
    assert other.queue_ptr.tolist() == [8]


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


def test_channels_last_is_asked_for_unless_disabled(make_cfg):
    x = torch.rand(2, 3, 12, 12)
    for disabled in (False, True):
        model = build(make_cfg("simclr", **{"performance.disable_channel_last": disabled}))
        seen = []
        model.backbone.register_forward_pre_hook(lambda _, args, seen=seen: seen.append(args[0]))
        model(x)
        assert seen[0].is_contiguous(memory_format=torch.channels_last) is not disabled


def test_a_timm_backbone_trains(make_cfg, make_batch):
    model = build(make_cfg("simsiam", **{"backbone.name": "resnet10t"}))
    model.training_step(make_batch([32, 32]), 0).backward()
    assert model.features_dim == 512
    assert all(p.grad is not None for p in model.backbone.parameters())


def test_an_interpolated_struct_configuration_is_accepted(make_cfg):
    cfg = make_cfg("simclr")
    cfg.optimizer.classifier_lr = "${optimizer.lr}"
    OmegaConf.set_struct(cfg, True)
    assert build(cfg).classifier_lr == cfg.optimizer.lr

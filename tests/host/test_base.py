# SPDX-License-Identifier: MIT
"""What all methods share: the classifier, the groups that are trained, views and their layout."""

from __future__ import annotations

from copy import deepcopy
from typing import Any

import pytest
import torch
import torch.nn.functional as F
from omegaconf import OmegaConf

from mixmask_solo.host import load

METHODS = ("byol", "mocov2plus", "simclr", "simsiam")


def build(cfg: Any) -> Any:
    torch.manual_seed(0)
    return load("builtin").methods[cfg.method](cfg)


@pytest.mark.parametrize("method", METHODS)
def test_every_trained_parameter_is_in_one_group_with_the_rate_of_its_module(
    make_cfg: Any, method: str
) -> None:
    """SimSiam's predictor is outside the schedule, as in its paper."""
    model = build(make_cfg(method, **{"optimizer.lr": 0.3, "optimizer.classifier_lr": 0.7}))
    groups = {group["name"]: group for group in model.learnable_params}
    trained = {name for name, p in model.named_parameters() if p.requires_grad}
    listed = [id(p) for group in groups.values() for p in group["params"]]
    assert len(listed) == len(set(listed))
    assert set(listed) >= {id(p) for p in model.parameters() if p.requires_grad}
    assert {name.split(".")[0] for name in trained} == set(groups)
    for name, group in groups.items():
        rate = {"lr": 0.7, "weight_decay": 0} if name == "classifier" else {}
        still = {"static_lr": True} if (method, name) == ("simsiam", "predictor") else {}
        assert {k: v for k, v in group.items() if k not in ("name", "params")} == rate | still


def test_rates_grow_with_the_batches_of_a_step(make_cfg: Any) -> None:
    one, four = (build(make_cfg("simclr", accumulate_grad_batches=n)) for n in (1, 4))
    for rate in ("lr", "classifier_lr", "min_lr", "warmup_start_lr"):
        assert getattr(four, rate) == 4 * getattr(one, rate), rate
    assert four.weight_decay == one.weight_decay


def test_the_classifier_learns_from_the_large_crops_and_moves_no_backbone(
    make_cfg: Any, make_batch: Any
) -> None:
    """Its loss is the mean cross entropy of both large crops; the small one has none."""
    cfg = make_cfg("simclr", **{"data.num_small_crops": 1})
    model, (_, views, targets) = build(cfg), make_batch([12, 12, 8])
    base = load("builtin").base
    logged: dict[str, Any] = {}
    model.log = lambda name, value, **_: logged.update({name: value})
    out = base.training_step(model, [None, views, targets], 0)
    again = build(cfg)
    feats = [again.backbone(x) for x in views]
    logits = [again.classifier(x) for x in feats[:2]]
    expected = torch.stack([F.cross_entropy(x, targets) for x in logits]).mean()
    torch.testing.assert_close(out["loss"], expected)
    assert logged["train_class_loss"] == out["loss"]
    hits = [(x.argmax(1) == targets).float().mean() * 100 for x in logits]
    torch.testing.assert_close(logged["train_acc1"], torch.stack(hits).mean())
    assert [len(out[key]) for key in ("feats", "z", "logits")] == [3, 3, 2]
    out["loss"].backward()
    assert all(p.grad is None for p in model.backbone.parameters())
    assert model.classifier.weight.grad.abs().sum() > 0


def test_the_online_knn_gets_the_large_crops_and_validation_images(
    make_cfg: Any, make_batch: Any
) -> None:
    cfg = make_cfg("simclr", **{"knn_eval.enabled": True, "data.num_small_crops": 1})
    model, (_, views, targets) = build(cfg), make_batch([12, 12, 8])
    feats = load("builtin").base.training_step(model, [None, views, targets], 0)["feats"]
    assert torch.equal(torch.cat(model.knn.train_features), torch.cat(feats[:2]))
    assert torch.cat(model.knn.train_targets).tolist() == targets.tolist() * 2
    out = model.eval().validation_step((views[0], targets), 0)
    [found] = model.knn.test_features
    assert torch.equal(found, model(views[0])["feats"])
    assert torch.cat(model.knn.test_targets).tolist() == targets.tolist()
    torch.testing.assert_close(out["val_loss"], F.cross_entropy(model.classifier(found), targets))


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


def test_wrong_number_of_views(make_cfg, make_batch):
    with pytest.raises(ValueError, match="has 3 views: the method wants 2"):
        build(make_cfg("simclr")).training_step(make_batch([12, 12, 12]), 0)


def test_channels_last_is_asked_for_unless_disabled(make_cfg):
    x = torch.rand(2, 3, 12, 12)
    for disabled in (False, True):
        model = build(make_cfg("simclr", **{"performance.disable_channel_last": disabled}))
        seen = []
        model.backbone.register_forward_pre_hook(lambda _, args, seen=seen: seen.append(args[0]))
        model(x)
        assert seen[0].is_contiguous(memory_format=torch.channels_last) is not disabled


def test_an_interpolated_struct_configuration_is_accepted(make_cfg):
    cfg = make_cfg("simclr")
    cfg.optimizer.classifier_lr = "${optimizer.lr}"
    OmegaConf.set_struct(cfg, True)
    assert build(cfg).classifier_lr == cfg.optimizer.lr

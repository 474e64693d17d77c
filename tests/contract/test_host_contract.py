# SPDX-License-Identifier: MIT
"""What every host promises: names, shapes, hooks, groups, rates. Run over both hosts."""

from __future__ import annotations

import json
from typing import Any

import pytest
import torch

MOMENTUM = ("byol", "mocov2", "mocov2plus")


class AttachedTrainer:
    """The two numbers a schedule asks a trainer for."""

    estimated_stepping_batches = 8
    max_epochs = 2
    gradient_clip_val = None


def attach(model: Any) -> Any:
    model._trainer = AttachedTrainer()
    return model


def test_state_dict_keys_and_shapes(host, method, make_cfg, class_of, golden):
    state = class_of(host, method)(make_cfg(method)).state_dict()
    if method == "mocov2":  # solo-learn has none: all but the queue's first axis is MoCo v2+'s
        plus = json.loads(str(golden("solo_step")["mocov2plus_state_dict_json"]))
        expected = [[k, shape[1:] if k == "queue" else shape] for k, shape in plus]
        assert [[key, list(value.shape)] for key, value in state.items()] == expected
        return
    expected = json.loads(str(golden("solo_step")[f"{method}_state_dict_json"]))
    assert [[key, list(value.shape)] for key, value in state.items()] == expected


def test_a_class_in_between_sees_the_outputs_before_the_loss(
    host, method, make_cfg, class_of, batch
):
    """What our mixins stand on: the order of classes and the content of ``out``."""
    concrete = class_of(host, method)
    base = host.base_momentum if method in MOMENTUM else host.base
    assert issubclass(concrete, base)
    base = getattr(concrete, "step_base", base)
    seen: dict[str, Any] = {}

    class Between(base):
        def training_step(self, batch, batch_idx):
            out = super().training_step(batch, batch_idx)
            seen.update(out)
            out["loss"] = out["loss"] + 1000.0
            return out

    class Built(concrete, Between):
        pass

    loss = Built(make_cfg(method)).training_step(batch, 0)
    assert loss > 900
    expected = {"feats": (4, 512), "logits": (4, 10), "z": (4, 32)}
    if method in ("byol", "simsiam"):
        expected["p"] = (4, 32)
    if method in MOMENTUM:
        expected |= {"momentum_feats": (4, 512), "momentum_z": (4, 32)}
    for key, shape in expected.items():
        assert [tuple(view.shape) for view in seen[key]] == [shape, shape], key
    assert seen["loss"].ndim == 0


def test_forward_outputs(host, method, make_cfg, class_of, batch):
    model = class_of(host, method)(make_cfg(method)).eval()
    out = model(batch[1][0])
    assert {"feats", "logits", "z"} <= set(out)
    assert ("p" in out) == (method in ("byol", "simsiam"))
    unit = torch.allclose(out["z"].norm(dim=1), torch.ones(4))
    assert unit == method.startswith("moco")
    if method in MOMENTUM:
        assert not model.momentum_forward(batch[1][0])["z"].requires_grad
        online = {id(p) for pair in model.momentum_pairs for p in pair[0].parameters()}
        assert online <= {id(p) for p in model.parameters() if p.requires_grad}
    loss = out["logits"].sum()
    (grad,) = torch.autograd.grad(loss, model.backbone.conv1.weight, allow_unused=True)
    assert grad is None, "the online classifier must not train the backbone"


GROUPS = {
    "byol": ["backbone", "classifier", "projector", "predictor"],
    "mocov2": ["backbone", "classifier", "projector"],
    "mocov2plus": ["backbone", "classifier", "projector"],
    "simclr": ["backbone", "classifier", "projector"],
    "simsiam": ["backbone", "classifier", "projector", "predictor"],
}


@pytest.mark.parametrize("exclude", [False, True])
def test_optimiser_groups(host, method, make_cfg, class_of, exclude):
    cfg = make_cfg(
        method,
        **{"optimizer.exclude_bias_n_norm_wd": exclude, "optimizer.classifier_lr": 0.3},
    )
    (optimizer,), _ = attach(class_of(host, method)(cfg)).configure_optimizers()
    names = [g["name"] for g in optimizer.param_groups]
    if exclude:
        assert names == [n for name in GROUPS[method] for n in (name, f"{name}_no_decay")]
    else:
        assert names == GROUPS[method]
    for group in optimizer.param_groups:
        decays = not group["name"].startswith("classifier") and "no_decay" not in group["name"]
        assert group["weight_decay"] == (1e-4 if decays else 0)
        assert group["initial_lr"] == (0.3 if group["name"].startswith("classifier") else 0.1)
        if "no_decay" in group["name"]:
            assert all(p.ndim <= 1 for p in group["params"])


def test_learning_rates(host, method, make_cfg, class_of):
    """Four steps of linear warm-up, four of cosine; SimSiam's predictor stays from step 1 on."""
    model = attach(class_of(host, method)(make_cfg(method)))
    (optimizer,), (config,) = model.configure_optimizers()
    assert config["interval"] == "step"
    seen = []
    for _ in range(8):
        seen.append({g["name"]: g["lr"] for g in optimizer.param_groups})
        optimizer.step()
        config["scheduler"].step()
    start, top = 3e-5, 0.1
    warm = [start + (top - start) * i / 3 for i in range(4)]
    cosine = [top * f for f in (1.0, 0.8535533906, 0.5, 0.1464466094)]
    assert [row["backbone"] for row in seen] == pytest.approx(warm + cosine)
    static = [row["predictor"] for row in seen] if method == "simsiam" else []
    assert static == pytest.approx([start, *[top] * 7][: len(static)])


ACCUMULATED = {
    **{"accumulate_grad_batches": 3, "optimizer.classifier_lr": 0.3},
    **{"scheduler.min_lr": 0.01, "scheduler.warmup_start_lr": 0.02},
}


def test_accumulation_multiplies_the_rates_of_a_method(host, method, make_cfg, class_of):
    model = class_of(host, method)(make_cfg(method, **ACCUMULATED))
    rates = [model.lr, model.classifier_lr, model.min_lr, model.warmup_start_lr]
    assert rates == pytest.approx([3 * 0.1, 3 * 0.3, 3 * 0.01, 3 * 0.02])


def test_accumulation_leaves_the_rates_of_a_probe(host, make_cfg):
    backbone = torch.nn.Flatten()
    backbone.num_features = 12
    probe = host.linear(backbone, make_cfg("simclr", **ACCUMULATED))
    assert [probe.lr, probe.min_lr, probe.warmup_start_lr] == [0.1, 0.01, 0.02]


def test_defaults(host, method, make_cfg, class_of):
    cfg = class_of(host, method)(make_cfg(method)).cfg
    assert cfg.knn_eval == {"enabled": False, "k": 20, "distance_func": "euclidean"}
    assert cfg.scheduler.interval == "step"
    assert cfg.scheduler.warmup_start_lr == 3e-5
    assert cfg.performance.disable_channel_last is False
    assert cfg.accumulate_grad_batches == 1

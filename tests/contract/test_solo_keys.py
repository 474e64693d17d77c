# SPDX-License-Identifier: MIT
"""Keys of ours mean on solo-learn's classes what they mean on the built-in host's."""

from __future__ import annotations

from typing import Any

import pytest
import torch

from mixmask_solo.methods import get_methods

pytestmark = [pytest.mark.solo, pytest.mark.filterwarnings("ignore")]


class AttachedTrainer:
    """The numbers a schedule asks a trainer for."""

    estimated_stepping_batches = 24
    max_epochs = 6
    gradient_clip_val = None


def on_both(method: str, make_cfg: Any, **changes: Any) -> tuple[Any, Any]:
    """The method on solo-learn's class and on the built-in one."""
    return tuple(get_methods(host)[method](make_cfg(method, **changes)) for host in HOSTS)


HOSTS = ("solo", "builtin")
STEMS = [
    ("auto", 1, "cifar10"),
    ("cifar", 1, "cifar10"),
    ("cifar_pool", 1, "custom"),
    ("cifar", 2, "imagenet"),
    ("imagenet", 2, "cifar10"),
    ("imagenet", 2, "imagenet100"),
]


@pytest.mark.parametrize(("stem", "padding", "dataset"), STEMS)
@pytest.mark.parametrize("method", ["byol", "simclr"])
def test_stems(solo_host, make_cfg, method, stem, padding, dataset) -> None:
    """Weights would fit a stem of another padding too, so the outputs are compared."""
    changes = {"backbone.stem": stem, "backbone.stem_padding": padding, "data.dataset": dataset}
    theirs, ours = on_both(method, make_cfg, **changes)
    ours.load_state_dict(theirs.state_dict())
    x = torch.rand(2, 3, 32, 32)
    torch.testing.assert_close(theirs.eval()(x), ours.eval()(x))
    if method == "byol":
        torch.testing.assert_close(theirs.momentum_forward(x), ours.momentum_forward(x))
        online, momentum = theirs.backbone.conv1.weight, theirs.momentum_backbone.conv1.weight
        assert torch.equal(online, momentum)
        assert (online.requires_grad, momentum.requires_grad) == (True, False)
    names = [[n for n, _ in model.named_parameters()] for model in (theirs, ours)]
    assert names[0] == names[1]


def rates(model: Any, interval: str) -> list[list[float]]:
    """Rates of all groups over the whole training."""
    model._trainer = AttachedTrainer()
    (optimizer,), (schedule,) = model.configure_optimizers()
    if not isinstance(schedule, dict):  # solo-learn's way to say: once an epoch
        schedule = {"scheduler": schedule, "interval": "epoch"}
    assert schedule["interval"] == interval
    seen = []
    for _ in range(24 if interval == "step" else 6):
        seen.append([group["lr"] for group in optimizer.param_groups])
        optimizer.step()
        schedule["scheduler"].step()
    return seen


SCHEDULES: list[dict[str, Any]] = [
    {"name": "cosine", "interval": "epoch"},
    {"name": "cosine", "interval": "step", "min_lr": 1e-3},
    {"name": "cosine_from_one", "interval": "epoch"},
    {"name": "warmup_step", "interval": "step", "lr_decay_steps": [-3, -1], "gamma": 0.2},
    {"name": "step", "interval": "epoch", "lr_decay_steps": [2, 4], "gamma": 0.5},
    {"name": "step", "interval": "epoch", "lr_decay_steps": [-4, 4]},
    {"name": "warmup_step", "interval": "step", "lr_decay_steps": [-50, -25]},
]


@pytest.mark.parametrize("schedule", SCHEDULES, ids=lambda s: f"{s['name']}-{s['interval']}")
@pytest.mark.parametrize("method", ["simclr", "simsiam"])
def test_schedules(solo_host, make_cfg, method, schedule) -> None:
    changes = {f"scheduler.{key}": value for key, value in schedule.items()}
    theirs, ours = on_both(
        method,
        make_cfg,
        max_epochs=6,
        **changes,
        **{"scheduler.warmup_epochs": 1.5, "optimizer.kwargs": {"momentum": 0.9}},
    )
    steps = schedule.get("lr_decay_steps") or []
    # The resolved configuration has them counted already; solo-learn's own scripts do not.
    ours.lr_decay_steps = [s + 6 if s < 0 else s for s in steps if s > -6]
    for mine, expected in zip(
        rates(theirs, schedule["interval"]), rates(ours, schedule["interval"]), strict=True
    ):
        assert mine == pytest.approx(expected)


@pytest.mark.parametrize(
    ("key", "value", "message"),
    [
        ("backbone.name", "resnet10t", r"backbone\.name is 'resnet10t': .*host=builtin"),
        ("backbone.stem", "cifra", r"backbone\.stem is 'cifra': choose one of auto"),
    ],
)
def test_refused_when_built(solo_host, make_cfg, key, value, message) -> None:
    with pytest.raises(ValueError, match=message):
        get_methods("solo")["simclr"](make_cfg("simclr", **{key: value}))


@pytest.mark.parametrize(
    ("name", "message"),
    [
        ("exponential", r"scheduler\.name is 'exponential': choose one of warmup_cosine"),
        ("warmup_step", r"scheduler\.lr_decay_steps is missing"),
    ],
)
def test_refused_when_training_starts(solo_host, make_cfg, name, message) -> None:
    model = get_methods("solo")["simclr"](make_cfg("simclr", **{"scheduler.name": name}))
    model._trainer = AttachedTrainer()
    with pytest.raises(ValueError, match=message):
        model.configure_optimizers()


def test_without_our_keys_the_optimiser_is_solo_learns(solo_host, make_cfg) -> None:
    plain = solo_host.methods["simsiam"](make_cfg("simsiam"))
    ours = get_methods("solo")["simsiam"](make_cfg("simsiam"))
    for model in (plain, ours):
        model._trainer = AttachedTrainer()
    (a,), (b,) = (model.configure_optimizers()[1] for model in (plain, ours))
    assert type(a["scheduler"]) is type(b["scheduler"])
    assert a["interval"] == b["interval"]


def test_the_configuration_passed_in_is_completed(solo_host, make_cfg) -> None:
    """solo-learn's scripts read defaults from it after they have built the method."""
    cfg = make_cfg("mocov2plus", **{"method_kwargs.queue_size": 8})
    cfg.method = "mocov2"
    for key in ("performance", "momentum", "knn_eval"):
        cfg.pop(key, None)
    cfg.method_kwargs.pop("symmetric", None)
    model = get_methods("solo")["mocov2"](cfg)
    assert cfg.performance.disable_channel_last is False
    assert cfg.momentum == {"base_tau": 0.999, "final_tau": 0.999, "classifier": False}
    assert cfg.method_kwargs.symmetric is False
    assert model.cfg == cfg

# SPDX-License-Identifier: MIT
"""One training step of each method against solo-learn's own numbers, in float64."""

from __future__ import annotations

import json
import math
import zlib
from functools import cache
from typing import Any, NamedTuple

import pytest
import torch

from mixmask_solo.host import load
from support.methods import golden_config

METHODS = ("byol", "mocov2plus", "simclr", "simsiam")


def fill(name: str, shape: torch.Size, kind: str) -> torch.Tensor:
    """The deterministic weights of tests/golden/README.md, section 8."""
    n = math.prod(shape)
    c = zlib.crc32(name.encode()) % 97
    i = torch.arange(n, dtype=torch.int64)
    if kind == "sine":
        values = 0.05 * torch.sin(1.0 + (i * (1 + c)).double() / 97)
    else:
        r = ((i + 1) ** 2 * (2 * c + 1)) % 65537
        values = 2 / math.sqrt(n / shape[0]) * torch.sin(2 * math.pi * r.double() / 65537)
    return values.reshape(shape)


def golden_state(model: torch.nn.Module, kind: str) -> dict[str, torch.Tensor]:
    state = {}
    for key, value in model.state_dict().items():
        name = key.removeprefix("momentum_")
        if value.ndim > 1:
            state[key] = fill(name, value.shape, kind)
        elif key.endswith("running_var") or (key.endswith("weight") and value.ndim == 1):
            state[key] = torch.ones_like(value)
        else:
            state[key] = torch.zeros_like(value)
    if "queue" in state:
        state["queue"] = state["queue"] / state["queue"].norm(dim=1, keepdim=True)
    return state


def golden_model(g: dict[str, Any], method: str, kind: str) -> torch.nn.Module:
    model = load("builtin").methods[method](golden_config(g, method)).double().train()
    model.load_state_dict(golden_state(model, kind))
    return model


class Seen(NamedTuple):
    """What a golden step left behind, without the model: eight of those are two gigabytes."""

    loss: torch.Tensor
    logged: dict[str, torch.Tensor]
    norms: dict[str, torch.Tensor]
    without_gradient: list[str]
    buffers: dict[str, torch.Tensor]


@pytest.fixture(scope="module")
def steps(golden):
    """``steps(method, kind)``: the golden arrays of one step, and what ours gave; run once."""
    g = golden("solo_step")
    views = [torch.from_numpy(g[f"view{v}"]).double() for v in (1, 2)]
    batch = [torch.from_numpy(g["indexes"]), views, torch.from_numpy(g["labels"])]

    @cache
    def run(method: str, kind: str) -> tuple[dict[str, Any], Seen]:
        model = golden_model(g, method, kind)
        logged: dict[str, torch.Tensor] = {}
        model.log = lambda name, value, **_: logged.update({name: value.detach()})
        loss = model.training_step(batch, 0)
        loss.backward()
        grads = {name: p.grad for name, p in model.named_parameters()}
        seen = Seen(
            loss.detach(),
            logged,
            {name: grad.norm() for name, grad in grads.items() if grad is not None},
            [name for name, grad in grads.items() if grad is None],
            {k: v for k, v in model.named_buffers() if k.startswith(("backbone.bn1.", "queue"))},
        )
        prefix = f"chirp_{method}_" if kind == "chirp" else f"{method}_"
        return {k.removeprefix(prefix): v for k, v in g.items() if k.startswith(prefix)}, seen

    return run


@pytest.mark.parametrize("method", METHODS)
def test_state_dict_keys_and_shapes_are_solo_learns(golden, method):
    g = golden("solo_step")
    state = load("builtin").methods[method](golden_config(g, method)).state_dict()
    expected = json.loads(str(g[f"{method}_state_dict_json"]))
    assert [[key, list(value.shape)] for key, value in state.items()] == expected


@pytest.mark.parametrize("kind", ["sine", "chirp"])
@pytest.mark.parametrize("method", METHODS)
def test_losses(steps, method, kind):
    g, seen = steps(method, kind)
    logged = seen.logged
    actual = {
        "total_loss": seen.loss,
        "method_loss": logged.get("train_nce_loss", logged.get("train_neg_cos_sim")),
        "class_loss": logged["train_class_loss"],
    }
    if "z_std" in g:
        actual["z_std"] = logged["train_z_std"]
    for name, value in actual.items():
        torch.testing.assert_close(float(value), float(g[name]), rtol=0, atol=1e-8)


@pytest.mark.parametrize("kind", ["sine", "chirp"])
@pytest.mark.parametrize("method", METHODS)
def test_gradient_norms(steps, method, kind):
    g, seen = steps(method, kind)
    names = json.loads(str(g["grad_names_json"]))
    assert sorted(seen.norms) == names
    if kind == "sine":
        assert sorted(seen.without_gradient) == sorted(json.loads(str(g["no_grad_names_json"])))
    actual = torch.stack([seen.norms[name] for name in names])
    torch.testing.assert_close(actual, torch.from_numpy(g["grad_norms"]), rtol=1e-6, atol=1e-9)


@pytest.mark.parametrize("method", METHODS)
def test_batch_norm_sees_the_views_one_after_the_other(steps, method):
    g, seen = steps(method, "chirp")
    for name in ("running_mean", "running_var", "num_batches_tracked"):
        actual = seen.buffers[f"backbone.bn1.{name}"]
        expected = torch.from_numpy(g[f"bn1_{name}_after"]).reshape(actual.shape)
        torch.testing.assert_close(actual, expected, rtol=0, atol=1e-10)


@pytest.mark.parametrize("kind", ["sine", "chirp"])
def test_moco_queue_after_the_step(steps, kind):
    g, seen = steps("mocov2plus", kind)
    expected = torch.from_numpy(g["queue_after"])
    torch.testing.assert_close(seen.buffers["queue"], expected, rtol=0, atol=1e-8)
    assert seen.buffers["queue_ptr"].tolist() == g["queue_ptr_after"].reshape(-1).tolist()


@pytest.mark.parametrize("method", METHODS)
def test_outputs_per_view(golden, method):
    """``forward`` and ``momentum_forward`` alone, with batch norm in training mode."""
    g = golden("solo_step")
    model = golden_model(g, method, "chirp")
    for v in (1, 2):
        x = torch.from_numpy(g[f"view{v}"]).double()
        out = dict(model(x))
        if hasattr(model, "momentum_forward"):
            out["momentum_z"] = model.momentum_forward(x)["z"]
        compared = 0
        for name, value in out.items():
            shared = f"chirp_{name}{v}"
            key = shared if shared in g else f"chirp_{method}_{name}{v}"
            torch.testing.assert_close(value, torch.from_numpy(g[key]), rtol=1e-8, atol=1e-8)
            compared += 1
        assert compared == len(out) >= 3

# SPDX-License-Identifier: MIT
"""What a strategy of another package may return: taken as it is meant, or refused in one line."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from types import SimpleNamespace
from typing import Any

import pytest
import torch
from torch import Tensor

from mixmask_solo.config import ConfigError
from mixmask_solo.methods import get_methods
from mixmask_solo.methods.families import FAMILIES
from mixmask_solo.methods.refused import check_branch
from mixmask_solo.mixtures import cutmix, mixmask, mixup, partner
from mixmask_solo.strategies import Branch, InputFilter, Strategy, Views, register, registry
from support.methods import method_config

Make = Callable[..., Any]


@dataclass
class Options:
    pass


@pytest.fixture
def make(monkeypatch: pytest.MonkeyPatch) -> Make:
    """``make(method, **hooks)``: silent, in double precision, with one strategy of these hooks."""
    monkeypatch.setattr(registry, "_STRATEGIES", dict(registry._STRATEGIES))

    def make(method: str, *, small: int = 0, kwargs: Any = None, **hooks: Any) -> Any:
        kind = type("Outside", (Strategy,), {"name": "outside", "options_type": Options, **hooks})
        register(kind)
        kwargs = {"outside": {}, **(kwargs or {})}
        cls = get_methods("builtin")[method]
        model = cls(method_config(method, kwargs, data={"num_small_crops": small}))
        model.log = model.log_dict = lambda *_, **__: None
        return model.double()

    return make


def batch(small: int = 0) -> list[Any]:
    views = [torch.rand(8, 3, size, size).double() for size in [32, 32] + [16] * small]
    return [torch.arange(8), views, torch.arange(8) % 10]


def inputs(network: Any) -> list[Tensor]:
    """What a network gets, from now on."""
    seen: list[Tensor] = []
    network.register_forward_pre_hook(lambda _, args: seen.append(args[0].detach().clone()))
    return seen


def assert_seen(seen: list[Tensor], expected: list[Tensor]) -> None:
    for a, b in zip(seen, expected, strict=True):
        torch.testing.assert_close(a, b)


def test_one_momentum_image_for_both_views(make: Make) -> None:
    """Each view goes online as the strategy has it, whatever the momentum network sees."""

    def views(_: Any, views: Views, step: Any) -> Views:
        return views._replace(
            online=[0.5 * views.online[0], 0.25 * views.online[1]], momentum=[views.momentum[0]] * 2
        )

    model, data = make("byol", views=views), batch()
    online, momentum = inputs(model.backbone), inputs(model.momentum_backbone)
    model.training_step(data, 0)
    x1, x2 = data[1]
    assert_seen(online, [0.5 * x1, 0.25 * x2])
    assert_seen(momentum, [x1, x1])


def test_momentum_images_of_the_large_crops_alone(make: Make) -> None:
    def views(_: Any, views: Views, step: Any) -> Views:
        online = [0.5 * x for x in views.online]
        return views._replace(online=online, momentum=[2.0 * x for x in views.momentum[:2]])

    model, data = make("byol", small=1, views=views), batch(small=1)
    online, momentum = inputs(model.backbone), inputs(model.momentum_backbone)
    model.training_step(data, 0)
    assert_seen(online, [0.5 * x for x in data[1]])
    assert_seen(momentum, [2.0 * x for x in data[1][:2]])


@pytest.mark.parametrize(
    ("field", "n", "expected"), [("online", 2, "3"), ("momentum", 1, "2 or 3")]
)
def test_another_number_of_views_is_refused(make: Make, field: str, n: int, expected: str) -> None:
    model = make(
        "byol", small=1, views=lambda _, views, step: views._replace(**{field: views.online[:n]})
    )
    line = rf"^strategy outside: its hook views gives {n} {field} images, expected are {expected}$"
    with pytest.raises(ValueError, match=line):
        model.training_step(batch(small=1), 0)


def test_views_are_not_changed_in_place(make: Make) -> None:
    seen: list[Any] = []

    def views(_: Any, views: Views, step: Any) -> Views:
        seen.extend(views)
        shared = list(views.online)
        return Views(shared, shared, [])

    model = make("byol", views=views, branches=lambda _, views, step: seen.append(views) or [])
    model.training_step(batch(), 0)
    assert all(isinstance(images, tuple) for images in seen)
    after = model._views(model.strategies["outside"], Views(*seen[:3]), None)
    assert all(isinstance(images, tuple) for images in after)
    assert after.loaded is seen[2]


def with_weight(give: Callable[[torch.nn.Module], Any]) -> dict[str, Any]:
    """Hooks of a strategy that learns the weight of a layer, in groups as ``give`` has them."""

    def __init__(self: Any, options: Any) -> None:
        Strategy.__init__(self, options)
        self.net = torch.nn.Linear(1, 1, bias=False)

    return {
        "__init__": __init__,
        "views": lambda s, v, step: v._replace(online=[x * s.net.weight[0, 0] for x in v.online]),
        "param_groups": lambda s: [{"name": "outside", "params": give(s.net), "lr": 0.5}],
    }


@pytest.mark.parametrize(
    "give", [lambda net: net.parameters(), lambda net: net.weight], ids=["generator", "tensor"]
)
@pytest.mark.parametrize("exclude", [True, False])
def test_parameters_are_learnt_however_they_are_given(make: Make, give: Any, exclude: bool) -> None:
    model = make("byol", **with_weight(give))
    model.exclude_bias_n_norm_wd = exclude
    optimizer = model.configure_optimizers()
    [group] = [g for g in optimizer.param_groups if g.get("name") == "outside"]
    weight = model.strategies["outside"].net.weight
    assert len(group["params"]) == 1
    assert group["params"][0] is weight
    before = weight.item()
    model.training_step(batch(), 0).backward()
    optimizer.step()
    assert weight.item() == pytest.approx(before - 0.5 * weight.grad.item())


def test_a_group_without_parameters_is_refused(make: Make) -> None:
    model = make("byol", **with_weight(lambda net: iter(())))
    with pytest.raises(ValueError, match=r"^strategy outside: its hook param_groups gives a group"):
        model.configure_optimizers()


class Blur(torch.nn.Conv2d):
    """A filter with weights and a complex buffer."""

    def __init__(self) -> None:
        super().__init__(3, 3, 1, bias=False)
        torch.nn.init.constant_(self.weight, 0.3).requires_grad_(False)
        self.register_buffer("phase", torch.tensor(0.5j), persistent=False)

    def forward(self, x: Tensor) -> Tensor:
        return (super().forward(x) * self.phase / 0.5j).real


@pytest.mark.parametrize("dtype", [torch.bfloat16, torch.float16, torch.float32, torch.float64])
def test_a_filter_with_weights_takes_images_of_any_precision(dtype: torch.dtype) -> None:
    run, x = InputFilter([Blur(), torch.abs]), torch.randn(2, 3, 4, 4)
    goal = (0.3 * x.to(dtype).float().sum(1, keepdim=True)).abs().expand_as(x).to(dtype)
    for autocast in (False, True):
        with torch.autocast("cpu", torch.bfloat16, enabled=autocast):
            found = run(x.to(dtype))
        assert found.dtype == dtype
        torch.testing.assert_close(found.double(), goal.double(), rtol=1e-2, atol=1e-6)
        exact = run(x.to(dtype).float()).to(dtype)  # as an evaluation has it
        assert torch.equal(found, exact)


def test_a_filter_with_weights_in_a_network_of_bfloat16(make: Make) -> None:
    model = make("byol", input_filter=classmethod(lambda cls, options: Blur())).bfloat16()
    online, data = inputs(model.backbone), batch()
    data[1] = [x.bfloat16() for x in data[1]]
    model.training_step(data, 0)
    goal = (0.3 * data[1][0].float().sum(1, keepdim=True)).bfloat16().expand_as(data[1][0])
    torch.testing.assert_close(online[0], goal)


def of(name: str, *, large: int = 2, **kwargs: Any) -> Any:
    """What a branch is checked against."""
    cfg = SimpleNamespace(method=name, method_kwargs=SimpleNamespace(**kwargs))
    return SimpleNamespace(cfg=cfg, num_large_crops=large)


ONE_SIDED = of("mocov2", symmetric=False)


@pytest.mark.parametrize(
    ("method", "fields", "line"),
    [
        (of("barlow_twins"), {"pairing": "query"}, r"pairing query, but method is barlow_twins: "),
        (of("vicreg"), {"pairing": "query"}, r"pairing query, .* is vicreg: .* choose pair"),
        (of("nnbyol"), {"pairing": "pair"}, r"pairing pair, but method is nnbyol: "),
        (of("nnclr"), {"pairing": "pair"}, r"pairing pair, but method is nnclr: .*; choose query"),
        (of("nnsiam"), {"pairing": "pair"}, r"pairing pair, but method is nnsiam: "),
        (of("ressl"), {"pairing": "pair"}, r"pairing pair, but method is ressl: its loss has one"),
        (ONE_SIDED, {"pairing": "pair"}, r"pairing pair, .* is mocov2: .* leave pairing out"),
        (ONE_SIDED, {"targets": "both"}, r"targets both, .* is mocov2: .* leave targets out"),
        (of("byol"), {"view": 2}, r"view 2, but the large crops are 0 to 1"),
        (of("byol"), {"view": -1}, r"view -1, but the large crops are 0 to 1"),
    ],
)
def test_what_a_method_refuses_of_a_branch(method: Any, fields: dict[str, Any], line: str) -> None:
    branch = Branch("outside", torch.zeros(2), **fields)
    with pytest.raises(ConfigError, match=rf"^strategy outside makes a branch with {line}"):
        check_branch(method, branch)


@pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16])
@pytest.mark.parametrize("switch", [True, False])
def test_one_share_for_the_batch_where_a_loss_needs_it(dtype: torch.dtype, switch: bool) -> None:
    x, who = torch.rand(4, 1, 8, 8).to(dtype), partner("reverse", 4)
    masks, lam = torch.rand(4, 2, 2) < 0.5, torch.full((4,), 0.3)
    shared = [mixup(x, lam[:1], who), cutmix(x, lam[:1], who), mixmask(x, masks[:1], who)]
    each = [mixup(x, lam, who), cutmix(x, lam, who), mixmask(x, masks, who)]
    for mixture in shared:
        branch = Branch.of("outside", mixture, switch=switch)
        assert [w.shape for _, w in branch.sources] == [(4,)] * (1 + switch)
        check_branch(of("barlow_twins"), branch)
    for mixture in each:
        branch = Branch.of("outside", mixture, switch=switch)
        check_branch(of("vicreg"), branch)
        with pytest.raises(ConfigError, match=r"with per_image True, .* is barlow_twins: .* one,"):
            check_branch(of("barlow_twins"), branch)


@pytest.mark.parametrize(
    ("field", "choices"), [("pairing", "query or pair"), ("targets", "both, other or every")]
)
def test_an_unknown_word_is_refused(field: str, choices: str) -> None:
    with pytest.raises(ValueError, match=rf"^branch outside has {field} 'Own': choose {choices}$"):
        Branch("outside", torch.zeros(2), **{field: "Own"})  # type: ignore[arg-type]


def test_branches_that_a_method_takes() -> None:
    fields = [{}, {"view": 1, "pairing": "query", "targets": "other"}]
    for name in sorted(FAMILIES.keys() - {"barlow_twins", "vicreg"}):
        for more in fields:
            check_branch(of(name, symmetric=False), Branch("outside", torch.zeros(2), **more))
    both = Branch("outside", torch.zeros(2), pairing="pair", targets="both")
    for method in (of("mocov2", symmetric=True), of("byol"), of("barlow_twins"), of("vicreg")):
        check_branch(method, both)


@pytest.mark.parametrize("fields", [{"pairing": "pair"}, {"targets": "both"}, {"view": 3}])
def test_a_step_refuses_them_before_any_network_runs(make: Make, fields: dict[str, Any]) -> None:
    model = make("mocov2", branches=lambda s, v, step: [Branch(s.name, v[0], **fields)])
    online = inputs(model.backbone)
    with pytest.raises(ConfigError, match=r"^strategy outside makes a branch with"):
        model.training_step(batch(), 0)
    assert not online

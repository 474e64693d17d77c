# SPDX-License-Identifier: MIT
"""Strategies from outside: a name once; a broken package is one line, and only where it matters."""

from __future__ import annotations

from collections.abc import Callable
from importlib.metadata import EntryPoint
from types import SimpleNamespace
from typing import Any

import pytest
import torch
from omegaconf import OmegaConf

from mixmask_solo.config import ConfigError
from mixmask_solo.config import outside as entry_points
from mixmask_solo.strategies import (
    Branch,
    blocks,
    build_strategies,
    fill_blocks,
    register,
    registry,
    stored_filter,
)
from support.strategies import Dimmer, registered  # noqa: F401


def config(**blocks: Any) -> Any:
    return OmegaConf.create({"seed": 3, "method_kwargs": blocks})


@pytest.fixture
def install(monkeypatch: pytest.MonkeyPatch) -> Callable[..., None]:
    """``install(name, value, package)``: as if packages with such entry points were there."""

    def install(*entries: tuple[str, str, str]) -> None:
        found: dict[str, list[Any]] = {}
        for name, value, package in entries:
            real = EntryPoint(name, value, "mixmask_solo.strategies")
            dist = SimpleNamespace(name=package)
            fake = SimpleNamespace(name=name, value=value, dist=dist, load=real.load)
            found.setdefault(name, []).append(fake)
        monkeypatch.setattr(entry_points, "outside", lambda group: found)
        monkeypatch.setattr("mixmask_solo.strategies.registry.outside", lambda group: found)

    return install


@pytest.mark.usefixtures("registered")
def test_a_name_is_given_once() -> None:
    for name in ("mixmask", "permutations", "dimmer"):
        with pytest.raises(ValueError, match=f"'{name}' is registered already"):
            register(type("Again", (Dimmer,), {"name": name}))


@pytest.mark.usefixtures("registered")
@pytest.mark.parametrize("others", [("centred", "dimmer"), ("dimmer", "centred")])
def test_ours_come_first_and_others_by_name(others: tuple[str, str]) -> None:
    written = config(**{name: {} for name in (*others, "mixmask", "unmix")}, harder=None)
    assert [s.name for s in build_strategies(written)] == ["unmix", "mixmask", "centred", "dimmer"]
    filled = fill_blocks(written)
    assert filled["dimmer"] == {"lr": 0.1}
    assert filled["harder"] is None
    assert fill_blocks(OmegaConf.create({"method_kwargs": filled})) == filled
    with pytest.raises(ConfigError, match=r"unknown key method_kwargs\.dimmer\.rate"):
        fill_blocks(config(dimmer={"rate": 1}))


@pytest.mark.parametrize(
    ("name", "why"),
    [
        *((name, "that is no identifier") for name in ("", "a.b", "a-b", "1st")),
        *((name, "attribute of torch.nn.ModuleDict") for name in ("half", "keys", "training")),
        *(
            (name, f"method_kwargs.{name} is a method's")
            for name in ("temperature", "head", "lamb")
        ),
        *((name, "a name of this package's own") for name in ("mixture", "nce", "class", "swav")),
    ],
)
def test_a_name_that_can_be_no_blocks_is_refused(
    name: str, why: str, install: Any, caplog: pytest.LogCaptureFixture
) -> None:
    before = blocks()
    with pytest.raises(ValueError, match="a strategy cannot be named") as error:
        register(type("Other", (Dimmer,), {"name": name}))
    assert why in str(error.value)
    assert repr(name) in str(error.value)
    install((name, "no.such.module", f"broken{name}"), ("permutations", "none", "broken"))
    registry._ignore.cache_clear()
    assert blocks() == blocks() == before
    assert build_strategies(config(**{name: "htdt"})) == []
    told = [m for m in caplog.messages if f"package broken{name} brings" in m and why in m]
    assert len(told) == 1
    assert len(caplog.messages) == 2


@pytest.mark.usefixtures("registered")
def test_parameters_start_from_the_seed_and_the_name_alone() -> None:
    before = torch.get_rng_state()
    [first], [_, again] = (
        build_strategies(config(dimmer={})),
        build_strategies(config(unmix={}, dimmer={"lr": 1.0})),
    )
    assert torch.equal(first.share, again.share)
    assert torch.equal(before, torch.get_rng_state())


def test_a_package_that_cannot_be_used_matters_where_its_block_is_written(install: Any) -> None:
    install(("blackout", "no.such.module", "broken-masks"))
    assert "blackout" in blocks()
    assert build_strategies(config(mixmask={}, blackout=None))
    with pytest.raises(ConfigError, match=r"^method_kwargs\.blackout is brought by package brok"):
        fill_blocks(config(blackout={}))


@pytest.mark.usefixtures("registered")
def test_an_evaluation_reads_blocks_of_filters_alone(caplog: pytest.LogCaptureFixture) -> None:
    stored = {"mixmask": {"grid_size": 1, "mask_kind": "x"}, "unmix": None, "head": "solo"}
    assert stored_filter(stored) is None
    assert stored_filter({**stored, "centred": {"factor": 0.5}})
    with pytest.raises(ConfigError, match=r"unknown key method_kwargs\.centred\.rate"):
        stored_filter({**stored, "centred": {"rate": 0.5}})
    assert not caplog.messages
    assert stored_filter({**stored, "gone": {"a": 1}}) is None
    [told] = caplog.messages
    assert told.startswith("the checkpoint was trained with method_kwargs.gone: no strategy")
    assert stored_filter({**stored, "gone": {"a": 1}}, recorded=["centred"]) is None
    assert len(caplog.messages) == 1
    with pytest.raises(ConfigError, match=r"method_kwargs\.gone, a strategy that filters inputs"):
        stored_filter({**stored, "gone": {"a": 1}}, recorded=["gone"])


def test_a_branch_shows_itself_unless_it_says_more() -> None:
    made = Branch("mine", torch.zeros(3, 1, 2, 2))
    [(index, weight)] = made.sources
    assert index is None
    assert weight.tolist() == [1.0, 1.0, 1.0]
    with pytest.raises(ValueError, match="neither images nor negatives"):
        Branch("mine", None)

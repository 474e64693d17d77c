# SPDX-License-Identifier: MIT
"""What registering leaves in solo-learn's registry."""

from __future__ import annotations

import importlib
import pickle
from collections.abc import Iterator
from typing import Any

import pytest
from omegaconf import OmegaConf

import mixmask_solo
from mixmask_solo.config import ConfigError
from mixmask_solo.host import load
from mixmask_solo.methods.families import FAMILIES
from mixmask_solo.methods.refused import REFUSED

pytestmark = [pytest.mark.solo, pytest.mark.filterwarnings("ignore")]


@pytest.fixture
def registry() -> Iterator[dict[str, type[Any]]]:
    """solo-learn's registry, put back afterwards."""
    try:
        load("solo")
    except ImportError as error:
        pytest.skip(str(error))
    methods = importlib.import_module("solo.methods").METHODS
    before = dict(methods)
    yield methods
    methods.clear()
    methods.update(before)


def test_every_method_is_replaced_in_place_once(registry) -> None:
    originals = dict(load("solo").methods)
    first = mixmask_solo.register()
    assert first == {name: registry[name] for name in first}
    assert mixmask_solo.register() == first
    assert first.keys() == (FAMILIES.keys() | REFUSED.keys())
    for name, cls in first.items():
        assert cls.load_from_checkpoint
        assert pickle.loads(pickle.dumps(cls)) is cls
        if name in originals:  # all but those of our own
            assert cls is not originals[name]
            assert issubclass(cls, originals[name])
    assert registry["base"] is originals["base"]
    assert registry["linear"] is originals["linear"]


def test_the_host_keeps_solo_learns_own_classes(registry) -> None:
    mixmask_solo.register()
    for cls in load("solo").methods.values():
        assert cls.__module__.partition(".")[0] == "solo"


@pytest.mark.parametrize("name", sorted(REFUSED))
def test_a_method_without_a_mixture_refuses_the_block_by_name(registry, name) -> None:
    mixmask_solo.register()
    cfg = OmegaConf.create({"method": name, "method_kwargs": {"mixmask": {"grid_size": 2}}})
    with pytest.raises(ConfigError, match=rf"^method_kwargs\.mixmask .*method is {name}: "):
        registry[name].add_and_assert_specific_cfg(cfg)

# SPDX-License-Identifier: MIT
"""Classes of method and mixin: which there are, in which order, and what their check fills in."""

from __future__ import annotations

import pickle
from dataclasses import replace

import pytest
import torch
from omegaconf import OmegaConf

from mixmask_solo.config import ConfigError
from mixmask_solo.host import load
from mixmask_solo.methods import get_methods
from mixmask_solo.methods.build import _assert_order, build_methods
from mixmask_solo.methods.families import FAMILIES
from mixmask_solo.methods.mixin import BranchesMixin
from support.methods import HEADS, method_config

HOST = load("builtin")


def test_there_is_a_class_for_each_method_that_host_and_families_know() -> None:
    made = build_methods(HOST, "there")
    assert made.keys() == HEADS.keys()
    for name, cls in made.items():
        assert cls.family is FAMILIES[name]
        assert (cls.__module__, cls.__name__[:7]) == ("there", "MixMask")
    fewer = replace(HOST, methods={"byol": HOST.methods["byol"], "nobodys": HOST.base})
    assert build_methods(fewer, "there").keys() == {"byol", "mocov2"}


@pytest.mark.parametrize("method", sorted(HOST.methods))
def test_the_mixin_sees_what_the_base_returns_before_the_method_does(method: str) -> None:
    cls = get_methods("builtin")[method]
    base = HOST.base_momentum if method in ("byol", "mocov2plus") else HOST.base
    order = [c for c in cls.__mro__ if "training_step" in vars(c)]
    assert order.index(HOST.methods[method]) + 1 == order.index(BranchesMixin)
    assert order.index(BranchesMixin) < order.index(base)


def test_a_hosts_extras_stand_before_every_method() -> None:
    class Extra:
        note = "of the host"

    made = build_methods(replace(HOST, extras=(Extra,)), "there")
    for cls in made.values():
        assert cls.note == "of the host"
        order = cls.__mro__
        assert order.index(Extra) < order.index(BranchesMixin)


def test_a_configuration_is_completed_by_host_and_strategies_and_left_alone() -> None:
    cfg = method_config("simclr", {"mixmask": {"grid_size": 4}})
    before = OmegaConf.to_container(cfg)
    done = get_methods("builtin")["simclr"].add_and_assert_specific_cfg(cfg)
    assert OmegaConf.to_container(cfg) == before
    assert done.knn_eval.k == 20  # the host's
    block = done.method_kwargs.mixmask
    assert (block.grid_size, block.mask_type, block.weight) == (4, "block", 1.0)
    assert "unmix" not in done.method_kwargs
    for kwargs, line in (
        ({"mixmask": {"grid": 4}}, r"unknown key method_kwargs\.mixmask\.grid"),
        ({"mixmask": {"grid_size": 1}}, r"method_kwargs\.mixmask\.grid_size is 1"),
        ({"head": "other"}, r"method_kwargs\.head"),
    ):
        with pytest.raises(ConfigError, match=line):
            get_methods("builtin")["simclr"].add_and_assert_specific_cfg(
                method_config("simclr", kwargs)
            )


@pytest.mark.parametrize("method", sorted(HEADS))
def test_state_dict_is_the_vanilla_one_and_methods_pickle(method: str) -> None:
    cls = get_methods("builtin")[method]
    block = {"mixmask": {"grid_size": 4}}
    with_block, without = cls(method_config(method, block)), cls(method_config(method))
    assert list(with_block.state_dict()) == list(without.state_dict())
    copy = pickle.loads(pickle.dumps(with_block))
    assert type(copy) is cls
    assert all(torch.equal(copy.state_dict()[k], v) for k, v in with_block.state_dict().items())


def test_a_wrong_order_of_classes_is_refused() -> None:
    class Late(HOST.methods["byol"], HOST.base_momentum, BranchesMixin):  # type: ignore[name-defined, misc]
        pass

    with pytest.raises(TypeError, match="must stand between"):
        _assert_order(Late, HOST.methods["byol"], HOST.base_momentum)

# SPDX-License-Identifier: MIT
"""Blocks and options that mean nothing for a method are an error line, not ignored."""

from __future__ import annotations

import pickle
from typing import Any

import pytest
from omegaconf import OmegaConf

from mixmask_solo.config import ConfigError
from mixmask_solo.host import load
from mixmask_solo.methods import get_method
from mixmask_solo.methods.families import FAMILIES
from mixmask_solo.methods.refused import REFUSED, check_method, check_options, refusing
from mixmask_solo.runs.pretrain import resolve
from mixmask_solo.strategies import fill_blocks
from support.methods import run_config


class Host:
    """A method of some host."""

    @staticmethod
    def add_and_assert_specific_cfg(cfg: Any) -> Any:
        cfg.seen = True
        return cfg


RefusingHost = refusing(Host, "wmse", __name__)


def test_a_block_is_refused_by_name_and_reason() -> None:
    cfg = OmegaConf.create({"method_kwargs": {"unmix": {"prob": 0.5}}})
    with pytest.raises(
        ConfigError, match=r"^method_kwargs\.unmix is given, but method is wmse: .*"
    ):
        RefusingHost.add_and_assert_specific_cfg(cfg)


@pytest.mark.parametrize("kwargs", [{}, None, {"mixmask": None, "temperature": 0.1}])
def test_without_a_block_the_host_decides(kwargs: Any) -> None:
    cfg = OmegaConf.create({"method_kwargs": kwargs})
    assert RefusingHost.add_and_assert_specific_cfg(cfg).seen
    assert issubclass(RefusingHost, Host)
    assert pickle.loads(pickle.dumps(RefusingHost)) is RefusingHost


@pytest.mark.parametrize("method", sorted(REFUSED))
def test_the_command_names_the_reason(method: str) -> None:
    assert method not in FAMILIES
    with pytest.raises(ConfigError, match=rf"^method is {method}: no mixture .* choose barlow"):
        resolve(OmegaConf.create({"method": method}))
    check_method("byol")


@pytest.mark.parametrize(
    ("method", "block", "message"),
    [
        ("nnclr", {"pairing": "pair"}, r"mixmask\.pairing is pair, but method is nnclr"),
        ("vicreg", {"pairing": "query"}, r"pairing is query, but method is vicreg"),
        ("barlow_twins", {"per_sample": True}, r"per_sample is true, .*set it to false"),
        ("ressl", {"pairing": "pair"}, r"one direction only"),
    ],
)
def test_options_that_mean_nothing(method: str, block: dict[str, Any], message: str) -> None:
    kwargs = fill_blocks(OmegaConf.create({"method_kwargs": {"mixmask": block}}))
    with pytest.raises(ConfigError, match=message) as error:
        check_options(method, kwargs)
    assert "\n" not in str(error.value)
    check_options("byol", kwargs)


@pytest.mark.parametrize(
    ("method", "pairing"),
    [("barlow_twins", "query"), ("nnclr", "pair"), ("ressl", "pair"), ("vicreg", "query")],
)
def test_a_masked_branch_is_refused_what_a_mixture_is(method: str, pairing: str) -> None:
    """But for a mask per image, which is no share per image."""
    block = {"role": "branch", "pairing": pairing, "per_sample": True}
    kwargs = fill_blocks(OmegaConf.create({"method_kwargs": {"erase": block}}))
    line = rf"^method_kwargs\.erase\.pairing is {pairing}, but method is {method}: "
    with pytest.raises(ConfigError, match=line):
        check_options(method, kwargs)
    kwargs["erase"]["pairing"] = None
    check_options(method, kwargs)


def test_asymmetric_moco_is_no_target_of_a_masked_branch() -> None:
    block = {"role": "branch", "pairing": "pair"}
    with pytest.raises(ConfigError, match=r"^method_kwargs\.erase\.pairing is pair: .* symmetric"):
        resolve(run_config("mocov2", {"erase": block}))
    resolve(run_config("mocov2", {"erase": block, "symmetric": True}))


def test_a_method_that_only_solo_learn_has() -> None:
    with pytest.raises(ValueError, match=r"^method nnclr needs solo-learn: docs.* host to solo"):
        get_method("nnclr", "builtin")
    assert get_method("byol", "builtin").__name__ == "MixMaskBYOL"
    try:
        load("solo")
    except ImportError:
        with pytest.raises(ValueError, match=r"^method nnclr needs solo-learn: docs.*No module"):
            get_method("nnclr")

# SPDX-License-Identifier: MIT
"""The erase block: its options, and what a method makes of them."""

from __future__ import annotations

from typing import Any

import pytest
from omegaconf import OmegaConf

from mixmask_solo.config import ConfigError
from mixmask_solo.strategies import Strategy, build_strategies, fill_blocks

SIZE = 16
KEY = "method_kwargs.erase"
TWO_SIDED = ("byol", "dino", "mocov2plus", "mocov3", "nnbyol")
ONE_SIDED = ("barlow_twins", "mocov2", "nnclr", "nnsiam", "ressl", "simclr", "simsiam", "swav")


def config(block: dict[str, Any], method: str | None = None, **more: Any) -> Any:
    cfg = {"method_kwargs": {"erase": block, **more}, "augmentations": [{"crop_size": SIZE}]}
    return OmegaConf.create(cfg | ({} if method is None else {"method": method}))


def strategy(block: dict[str, Any], method: str | None = None) -> Strategy:
    [made] = build_strategies(config(block, method))
    return made


def test_an_empty_block_has_mixmasks_masks_and_zeros_in_place_of_the_view() -> None:
    o = strategy({}).options
    assert (o.grid_size, o.mask_type, o.ratio, o.per_sample, o.prob) == (8, "block", 0.5, False, 1)
    assert (o.fill, o.role, o.views, o.targets) == ("zero", "view", "query", "clean")
    assert (o.weight, o.pairing) == (1.0, None)


@pytest.mark.parametrize(
    ("block", "fragments"),
    [
        ({"grid": 4}, [f"{KEY}.grid", "grid_size"]),
        ({"grid_size": 1}, [f"{KEY}.grid_size", "1"]),
        ({"grid_size": 17}, [f"{KEY}.grid_size is 17", "crop_size is 16", "at most 16"]),
        ({"mask_type": "blok"}, [f"{KEY}.mask_type is 'blok'", "did you mean block?"]),
        ({"ratio": 1.0}, [f"{KEY}.ratio is 1.0", "keeps 64", "some must go"]),
        ({"ratio": [0.8, 0.2]}, [f"{KEY}.ratio", "low <= high"]),
        ({"per_sample": 2}, [f"{KEY}.per_sample is 2", "true or false"]),
        ({"prob": 1.5}, [f"{KEY}.prob is 1.5", "from 0.0 to 1.0"]),
        ({"fill": "partner"}, [f"{KEY}.fill is 'partner'", "zero, noise, mean or blur"]),
        ({"noise_std": 0}, [f"{KEY}.noise_std is 0", "above 0"]),
        ({"blur_sigma": -1}, [f"{KEY}.blur_sigma is -1", "above 0"]),
        ({"blur_kernel": 4}, [f"{KEY}.blur_kernel is 4", "odd"]),
        ({"fill": "blur", "blur_kernel": 33}, [f"{KEY}.blur_kernel is 33", "at most 31"]),
        ({"role": "views"}, [f"{KEY}.role is 'views'", "did you mean view?"]),
        ({"as": "branch"}, [f"unknown key {KEY}.as", "role"]),
        ({"views": "key"}, [f"{KEY}.views is 'key'", "query or both"]),
        ({"targets": "other"}, [f"{KEY}.targets is 'other'", "clean or masked"]),
        ({"weight": -1, "role": "branch"}, [f"{KEY}.weight is -1"]),
        ({"weight": 0.5}, [f"{KEY}.weight is 0.5", "role is view", "set role to branch"]),
        ({"pairing": "query"}, [f"{KEY}.pairing is query", "role is view"]),
        ({"pairing": "pairs", "role": "branch"}, [f"{KEY}.pairing is 'pairs'", "pair"]),
        ({"role": "branch", "views": "both"}, [f"{KEY}.views is both", "role is branch", "clean"]),
        ({"role": "branch", "targets": "masked"}, [f"{KEY}.targets is masked", "set role to view"]),
        ({"partner": "reverse"}, [f"unknown key {KEY}.partner"]),
    ],
)
def test_wrong_options_are_named_in_one_line(block: dict[str, Any], fragments: list[str]) -> None:
    with pytest.raises(ConfigError) as error:
        strategy(block)
    text = str(error.value)
    assert "\n" not in text
    assert all(fragment in text for fragment in fragments), text


@pytest.mark.parametrize("method", ONE_SIDED)
def test_masked_views_and_clean_targets_where_a_view_is_both(method: str) -> None:
    for views, targets in (("both", "clean"), ("query", "masked")):
        with pytest.raises(ConfigError, match=rf"targets is {targets} .* is {method}: ") as error:
            strategy({"views": views, "targets": targets}, method)
        assert "\n" not in str(error.value)
    for views, targets in (("query", "clean"), ("both", "masked")):
        options = strategy({"views": views, "targets": targets}, method).options
        assert (options.views, options.targets) == (views, targets)


@pytest.mark.parametrize("method", [*TWO_SIDED, "symmetric mocov2"])
def test_where_each_view_predicts_the_query_is_both(method: str) -> None:
    symmetric = {"symmetric": True} if " " in method else {}
    for targets in ("clean", "masked"):
        for views in ("query", "both"):
            cfg = config({"views": views, "targets": targets}, method.split()[-1], **symmetric)
            stored = fill_blocks(cfg)["erase"]
            assert (stored["views"], stored["targets"]) == ("both", targets)

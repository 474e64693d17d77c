# SPDX-License-Identifier: MIT
"""The mixmask block: its options, and the draws of a step."""

from __future__ import annotations

from typing import Any

import pytest
import torch
from omegaconf import OmegaConf

from mixmask_solo.config import ConfigError
from mixmask_solo.strategies import Branch, Step, build_strategies

X = torch.arange(6 * 3 * 16 * 16, dtype=torch.float32).reshape(6, 3, 16, 16)


def step(batch: int = 0, *, epoch: int = 0, rank: int = 0, seed: int = 5) -> Step:
    return Step(seed, epoch, batch, rank, torch.device("cpu"))


def strategies(block: Any, crop: int = 16) -> Any:
    cfg = {"method_kwargs": {"mixmask": block}, "augmentations": [{"crop_size": crop}]}
    return build_strategies(OmegaConf.create(cfg))


def branch(block: dict[str, Any], at: Step) -> Branch:
    [strategy] = strategies(block)
    [made] = strategy.branches([X, X], at)
    return made  # type: ignore[no-any-return]


@pytest.mark.parametrize("block", [None, "absent"])
def test_no_block_no_strategy(block: Any) -> None:
    cfg = {"method_kwargs": {} if block == "absent" else {"mixmask": None}}
    assert build_strategies(OmegaConf.create(cfg)) == []


def test_empty_block_takes_the_papers_imagenet_values() -> None:
    [strategy] = strategies({})
    o = strategy.options
    assert (o.grid_size, o.mask_type, o.ratio, o.partner) == (8, "block", 0.5, "reverse")
    assert (o.per_sample, o.switch, o.prob, o.weight, o.pairing) == (False, True, 1.0, 1.0, None)


@pytest.mark.parametrize(
    ("block", "fragments"),
    [
        ({"grid": 4}, ["method_kwargs.mixmask.grid", "grid_size"]),
        ({"grid_size": 1}, ["method_kwargs.mixmask.grid_size", "1"]),
        ({"grid_size": 17}, ["method_kwargs.mixmask.grid_size", "17", "crop_size is 16"]),
        ({"grid_size": "eight"}, ["method_kwargs.mixmask.grid_size", "eight"]),
        ({"mask_type": "blok"}, ["method_kwargs.mixmask.mask_type", "blok", "block"]),
        ({"ratio": 1.5}, ["method_kwargs.mixmask.ratio", "1.5"]),
        ({"ratio": [0.2, 1.2]}, ["method_kwargs.mixmask.ratio", "[0.2, 1.2]"]),
        ({"ratio": [0.8, 0.2]}, ["method_kwargs.mixmask.ratio", "low <= high"]),
        ({"ratio": [0.5]}, ["method_kwargs.mixmask.ratio"]),
        ({"ratio": 0.0}, ["method_kwargs.mixmask.ratio", "some must go"]),
        ({"grid_size": 2, "ratio": 0.2}, ["method_kwargs.mixmask.ratio", "0.25"]),
        ({"partner": "revers"}, ["method_kwargs.mixmask.partner", "reverse"]),
        ({"prob": 1.1}, ["method_kwargs.mixmask.prob", "1.1"]),
        ({"weight": -1}, ["method_kwargs.mixmask.weight", "-1"]),
        ({"pairing": "pairs"}, ["method_kwargs.mixmask.pairing", "pair"]),
        ({"per_sample": "maybe"}, ["method_kwargs.mixmask.per_sample", "maybe"]),
    ],
)
def test_wrong_options_are_named_in_one_line(block: dict[str, Any], fragments: list[str]) -> None:
    with pytest.raises(ConfigError) as error:
        strategies(block)
    text = str(error.value)
    assert "\n" not in text
    assert all(fragment in text for fragment in fragments), text


def test_published_form_one_mask_and_reversed_partners() -> None:
    made = branch({"grid_size": 4}, step())
    images, lam, partner = made.mixture
    assert partner.tolist() == [5, 4, 3, 2, 1, 0]
    assert lam.unique().numel() == 1
    own = images == X
    assert torch.equal(own, own[:1].expand_as(own))
    assert torch.equal(images[~own], X.flip(0)[~own])
    assert lam[0].item() == pytest.approx(own.float().mean().item())


def test_a_mask_per_sample_gives_a_share_per_sample() -> None:
    made = branch({"grid_size": 4, "mask_type": "discrete", "per_sample": True}, step())
    own = (made.mixture.images == X).float().mean((1, 2, 3))
    torch.testing.assert_close(made.mixture.lam, own)
    assert made.mixture.lam.unique().numel() > 1


def test_a_ratio_range_is_drawn_anew_for_every_step() -> None:
    [strategy] = strategies({"grid_size": 8, "ratio": [0.25, 0.75]})
    lam = torch.stack([strategy.branches([X], step(i))[0].mixture.lam[0] for i in range(64)])
    assert 0.2 <= lam.min() < 0.35
    assert 0.65 < lam.max() <= 0.75


def test_draws_depend_on_seed_epoch_batch_and_rank_and_nothing_else() -> None:
    block = {"grid_size": 4, "partner": "random", "per_sample": True}
    at = branch(block, step(70)).mixture.images
    [strategy] = strategies(block)
    for i in range(70):
        strategy.branches([X], step(i))
    assert torch.equal(strategy.branches([X], step(70))[0].mixture.images, at)
    for other in (step(71), step(70, epoch=1), step(70, rank=1), step(70, seed=6)):
        assert not torch.equal(branch(block, other).mixture.images, at)


def test_global_random_state_is_left_alone() -> None:
    before = torch.get_rng_state()
    branch({"partner": "random", "prob": 0.999999}, step())
    assert torch.equal(before, torch.get_rng_state())


def test_prob_is_the_share_of_steps_and_all_ranks_agree() -> None:
    [strategy] = strategies({"prob": 0.25})
    made = [[len(strategy.branches([X], step(i, rank=r))) for i in range(400)] for r in (0, 1)]
    assert made[0] == made[1]
    assert 70 <= sum(made[0]) <= 130  # 100 expected, σ = 8.7

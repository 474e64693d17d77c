# SPDX-License-Identifier: MIT
"""The unmix block: its options, the statistics of its draws, the laws of its mixtures."""

from __future__ import annotations

from typing import Any

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from omegaconf import OmegaConf

from mixmask_solo.config import ConfigError
from mixmask_solo.mixtures import cutmix_box
from mixmask_solo.strategies import Branch, Step, build_strategies


def step(batch: int = 0, *, epoch: int = 0, rank: int = 0, seed: int = 5) -> Step:
    return Step(seed, epoch, batch, rank, torch.device("cpu"))


def strategies(block: Any) -> Any:
    cfg = {"method_kwargs": {"unmix": block}, "augmentations": [{"crop_size": 32}]}
    return build_strategies(OmegaConf.create(cfg))


def images(n: int, height: int = 32, width: int = 32) -> torch.Tensor:
    """One channel; the pixels of image i are i."""
    return torch.arange(n, dtype=torch.float32).view(n, 1, 1, 1).expand(n, 1, height, width).clone()


def branch(block: dict[str, Any], at: Step, x: torch.Tensor | None = None) -> Branch:
    [strategy] = strategies(block)
    [made] = strategy.branches([images(4) if x is None else x], at)
    return made


def is_blend(made: Branch) -> bool:
    x = images(len(made.mixture.lam))
    mixed = made.mixture.images
    return not bool(((mixed == x) | (mixed == x[made.mixture.partner])).all())


def test_an_empty_block_takes_the_demos_values() -> None:
    [strategy] = strategies({})
    o = strategy.options
    assert (o.prob, o.beta, o.partner, o.weight) == (0.5, 1.0, "reverse", 1.0)
    assert (o.pairing, o.switch, o.targets) == (None, True, None)
    assert strategies(None) == []


@pytest.mark.parametrize(
    ("block", "fragments"),
    [
        ({"p": 0.5}, ["unknown key method_kwargs.unmix.p", "prob"]),
        ({"prob": 1.5}, ["method_kwargs.unmix.prob is 1.5", "0"]),
        ({"prob": -0.1}, ["method_kwargs.unmix.prob is -0.1"]),
        ({"beta": 0}, ["method_kwargs.unmix.beta is 0"]),
        ({"beta": "one"}, ["method_kwargs.unmix.beta is 'one'", "number"]),
        ({"beta": float("nan")}, ["method_kwargs.unmix.beta is nan"]),
        ({"beta": float("inf")}, ["method_kwargs.unmix.beta is inf"]),
        ({"partner": "rol"}, ["method_kwargs.unmix.partner is 'rol'", "did you mean roll"]),
        ({"weight": -1}, ["method_kwargs.unmix.weight is -1"]),
        ({"pairing": "pairs"}, ["method_kwargs.unmix.pairing", "did you mean pair"]),
        ({"switch": "maybe"}, ["method_kwargs.unmix.switch"]),
        ({"targets": "all"}, ["method_kwargs.unmix.targets", "both or other"]),
        ("on", ["method_kwargs.unmix is 'on'"]),
    ],
)
def test_wrong_options_are_named_in_one_line(block: Any, fragments: list[str]) -> None:
    with pytest.raises(ConfigError) as error:
        strategies(block)
    text = str(error.value)
    assert "\n" not in text
    assert all(fragment in text for fragment in fragments), text


def test_shares_of_the_published_box_and_of_the_coin() -> None:
    """At 32 pixels the own share is 0.70 on average with σ 0.185, 1 in 0.4 % of the draws."""
    [strategy] = strategies({"prob": 0.3})
    made = [strategy.branches([images(2)], step(i))[0] for i in range(3000)]
    lam = torch.stack([b.mixture.lam[0] for b in made])
    whole = (lam == 1) | (lam == 0)
    blended = torch.tensor([is_blend(b) for b in made])
    assert not (blended & whole).any()
    assert blended.float().mean() == pytest.approx(0.3, abs=0.03)  # σ = 0.008
    box, blend = lam[~blended], lam[blended]
    assert box.mean() == pytest.approx(0.70, abs=0.015)  # σ = 0.004
    assert box.std() == pytest.approx(0.185, abs=0.015)
    assert blend.mean() == pytest.approx(0.5, abs=0.04)  # uniform: σ = 0.0096
    assert blend.std() == pytest.approx(12**-0.5, abs=0.02)


@pytest.mark.parametrize("beta", [0.01, 0.5, 4.0])
def test_beta_has_mean_a_half_and_its_variance(beta: float) -> None:
    [strategy] = strategies({"prob": 1.0, "beta": beta})
    x = images(2, 2, 2)
    lam = torch.stack([strategy.branches([x], step(i))[0].mixture.lam[0] for i in range(1500)])
    assert lam.mean() == pytest.approx(0.5, abs=0.04)
    assert lam.std() == pytest.approx((1 / (4 * (2 * beta + 1))) ** 0.5, abs=0.02)


def test_lam_is_the_same_whatever_the_coin_says() -> None:
    """Runs that differ in ``prob`` alone differ in nothing else."""
    for i in range(8):
        asked = branch({"prob": 1.0}, step(i)).mixture.lam[:1].double()
        box = branch({"prob": 0.0}, step(i)).mixture.lam
        least = cutmix_box(asked, (32, 32), (torch.tensor([16]), torch.tensor([16]))).lam
        assert box[0] >= least[0] - 1e-6  # the whole box, before clipping


@given(st.integers(1, 6), st.integers(1, 20), st.integers(1, 20), st.integers(0, 99), st.booleans())
def test_the_share_is_the_achieved_one_and_partners_are_reversed(
    n: int, height: int, width: int, at: int, regional: bool
) -> None:
    x = images(n, height, width) + 1
    made = branch({"prob": 0.0 if regional else 1.0}, step(at), x)
    mixed, lam, partner = made.mixture
    assert partner.tolist() == list(range(n))[::-1]
    assert lam.shape == (n,)
    assert lam.unique().numel() == 1
    if regional:
        own = mixed == x
        assert torch.equal(mixed[~own], x[partner][~own])
        apart = partner != torch.arange(n)
        torch.testing.assert_close(own.float().mean((1, 2, 3))[apart], lam[apart])
    else:
        blend = lam.view(-1, 1, 1, 1)
        torch.testing.assert_close(mixed, blend * x + (1 - blend) * x[partner])


def test_draws_depend_on_seed_epoch_batch_and_rank_and_nothing_else() -> None:
    """Shares are real numbers, so two equal ones are the same draw."""
    block = {"prob": 1.0}
    at = branch(block, step(70)).mixture.lam[0]
    [strategy] = strategies(block)
    for i in range(70):
        strategy.branches([images(4)], step(i))
    assert strategy.branches([images(4)], step(70))[0].mixture.lam[0] == at
    for other in (step(71), step(70, epoch=1), step(70, rank=1), step(70, seed=6)):
        assert branch(block, other).mixture.lam[0] != at


def test_ranks_have_coins_of_their_own() -> None:
    coins = [[is_blend(branch({}, step(i, rank=r))) for i in range(40)] for r in (0, 1)]
    assert coins[0] != coins[1]


def test_global_random_state_is_left_alone() -> None:
    import random

    before, python = torch.get_rng_state(), random.getstate()
    for i in range(4):
        branch({"partner": "random"}, step(i))
    assert torch.equal(before, torch.get_rng_state())
    assert python == random.getstate()


def test_the_branch_carries_the_blocks_loss_options() -> None:
    block = {"weight": 0.5, "pairing": "pair", "switch": False, "targets": "other"}
    made = branch(block, step())
    assert (made.name, made.weight, made.pairing) == ("unmix", 0.5, "pair")
    assert (len(made.sources), made.targets) == (1, "other")


@pytest.mark.gpu
@pytest.mark.skipif(not torch.cuda.is_available(), reason="needs a CUDA device")
@pytest.mark.parametrize("prob", [0.0, 1.0])
def test_the_host_never_waits_for_the_device(prob: float) -> None:
    [strategy] = strategies({"prob": prob})
    x = images(4).cuda()
    torch.cuda.set_sync_debug_mode("error")
    try:
        strategy.branches([x, x], Step(5, 0, 0, 0, x.device))
    finally:
        torch.cuda.set_sync_debug_mode("default")

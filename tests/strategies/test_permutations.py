# SPDX-License-Identifier: MIT
"""MixMask beside Un-Mix: the same partners or different ones, and contradictions."""

from __future__ import annotations

from typing import Any

import pytest
import torch
from omegaconf import OmegaConf

from mixmask_solo.config import ConfigError
from mixmask_solo.strategies import Step, blocks, build_strategies

N = 8
REVERSED = list(range(N))[::-1]
ROLLED = [*range(1, N), 0]
X = torch.rand(N, 3, 8, 8, generator=torch.Generator().manual_seed(0))


def step(batch: int, rank: int = 0) -> Step:
    return Step(5, 0, batch, rank, torch.device("cpu"))


def build(kwargs: dict[str, Any]) -> Any:
    return build_strategies(OmegaConf.create({"method_kwargs": kwargs}))


def kwargs(choice: str | None, mixmask: str | None, unmix: str | None) -> dict[str, Any]:
    made: dict[str, Any] = {"mixmask": {"grid_size": 4}, "unmix": {}}
    for block, kind in (("mixmask", mixmask), ("unmix", unmix)):
        if kind is not None:
            made[block]["partner"] = kind
    return made if choice is None else {**made, "permutations": choice}


def partners(made: dict[str, Any], at: Step) -> dict[str, list[int]]:
    branches = [b for s in build(made) for b in s.branches([X, X], at)]
    return {b.name: b.mixture.partner.tolist() for b in branches}


@pytest.mark.parametrize("order", [("mixmask", "unmix"), ("unmix", "mixmask")])
def test_un_mix_goes_first_as_published_whatever_the_file_says(order: tuple[str, str]) -> None:
    """BatchNorm's running statistics depend on whose images pass the network first."""
    made = {name: kwargs(None, None, None)[name] for name in order}
    assert list(partners(made, step(0))) == ["unmix", "mixmask"]


@pytest.mark.parametrize("choice", [None, "different"])
def test_published_default_random_for_mixmask_reversed_for_unmix(choice: str | None) -> None:
    made = kwargs(choice, None, None)
    drawn = [partners(made, step(i, rank=r)) for i in range(3) for r in range(2)]
    assert all(d["unmix"] == REVERSED for d in drawn)
    assert all(sorted(d["mixmask"]) == list(range(N)) for d in drawn)
    assert len({tuple(d["mixmask"]) for d in drawn}) == 6  # fresh for every batch and rank
    assert partners(made, step(0)) == drawn[0]


@pytest.mark.parametrize(
    ("mixmask", "unmix", "expected"),
    [
        (None, None, REVERSED),
        ("roll", None, ROLLED),
        (None, "roll", ROLLED),
        ("roll", "roll", ROLLED),
        ("random", None, None),
        (None, "random", None),
    ],
)
def test_same_is_one_permutation(
    mixmask: str | None, unmix: str | None, expected: list[int] | None
) -> None:
    for i in range(4):
        drawn = partners(kwargs("same", mixmask, unmix), step(i))
        assert drawn["mixmask"] == drawn["unmix"] == (expected or drawn["unmix"])
        assert expected or drawn["mixmask"] not in (REVERSED, ROLLED)


def test_different_with_two_random_ones_draws_two() -> None:
    for choice in (None, "different"):
        drawn = partners(kwargs(choice, "random", "random"), step(0))
        assert drawn["mixmask"] != drawn["unmix"]


def test_a_given_partner_stands_where_permutations_says_nothing() -> None:
    assert partners(kwargs(None, "reverse", None), step(0)) == {
        "mixmask": REVERSED,
        "unmix": REVERSED,
    }
    drawn = partners(kwargs(None, None, "roll"), step(0))
    assert drawn == {"mixmask": REVERSED, "unmix": ROLLED}
    drawn = partners(kwargs("different", "roll", None), step(0))
    assert drawn == {"mixmask": ROLLED, "unmix": REVERSED}


def test_mixmask_draws_the_same_alone_and_beside_unmix() -> None:
    alone = build({"mixmask": {"grid_size": 4, "partner": "random"}})
    [mask] = alone[0].branches([X], step(3))
    both = {s.name: s for s in build(kwargs("different", None, None))}
    [beside] = both["mixmask"].branches([X], step(3))
    assert torch.equal(mask.mixture.images, beside.mixture.images)


@pytest.mark.parametrize("choice", ["same", "different"])
def test_the_order_of_the_blocks_changes_no_draw(choice: str) -> None:
    written = {**kwargs(choice, None, None)}
    turned = dict(reversed(written.items()))
    assert list(turned) != list(written)
    one, other = (
        {b.name: b.mixture for s in build(made) for b in s.branches([X], step(2))}
        for made in (written, turned)
    )
    for name in ("mixmask", "unmix"):
        assert all(torch.equal(a, b) for a, b in zip(one[name], other[name], strict=True))


@pytest.mark.parametrize(
    ("made", "fragments"),
    [
        ({"permutations": "same"}, ["no mixmask and unmix"]),
        ({"permutations": "same", "mixmask": {}}, ["no unmix under method_kwargs"]),
        ({"permutations": "different", "unmix": {}, "mixmask": None}, ["no mixmask"]),
        ({**kwargs("equal", None, None)}, ["method_kwargs.permutations is 'equal'", "same"]),
        (kwargs("different", "reverse", "reverse"), ["both reverse", "random"]),
        (kwargs("different", "reverse", None), ["both reverse"]),
        (kwargs("different", "roll", "roll"), ["both roll"]),
        (kwargs("same", "roll", "random"), ["mixmask.partner is roll", "unmix.partner is random"]),
        (kwargs("same", "random", "reverse"), ["give one of the two"]),
    ],
)
def test_contradictions_are_one_line(made: dict[str, Any], fragments: list[str]) -> None:
    with pytest.raises(ConfigError) as error:
        build(made)
    text = str(error.value)
    assert "\n" not in text
    assert text.startswith("method_kwargs.permutations is ")
    assert all(fragment in text for fragment in fragments), text


def test_null_is_nothing() -> None:
    assert build({"permutations": None}) == []
    assert blocks()[:2] == ("unmix", "mixmask")
    assert "permutations" in blocks()

# SPDX-License-Identifier: MIT
"""What has no sound mixture loss: whole methods of solo-learn, and options of single methods.

A block that is silently ignored would cost somebody a week of training, hence an error line.
"""

from collections.abc import Mapping
from typing import Any

from mixmask_solo.config import ConfigError, listing
from mixmask_solo.config.rules import ONE_SIDED
from mixmask_solo.methods.families import FAMILIES
from mixmask_solo.strategies import Branch, blocks, kind_of
from mixmask_solo.strategies.permutations import Mixing

REFUSED: dict[str, str] = {
    "all4one": (
        "it joins three losses, one of them on a transformer that reads several neighbours of one "
        "image, one on the batch's cross-correlation: no pair loss of a view and a mixture"
    ),
    "deepclusterv2": (
        "its targets are clusters found between epochs over the whole data set, not another view: "
        "no pair loss of a view and a mixture"
    ),
    "mae": (
        "it reconstructs one image's hidden patches with a vision transformer: it has no second "
        "view to weigh a mixture's sources against"
    ),
    "supcon": (
        "its positives come from labels, so that a batch holds many positives of either source: "
        "the shares of two images say nothing about them"
    ),
    "vibcreg": (
        "it is VICReg with normalised covariances behind a whitening projector, and no mixture "
        "for it has been worked out; choose vicreg"
    ),
    "wmse": (
        "it whitens random slices of each view's batch inside its own step: a mixture and its "
        "partner's view would be whitened by different matrices"
    ),
}
"""solo-learn's methods without a mixture loss, and why."""

_NO_PREDICTION = (
    "its loss is one of the batch's statistics, in which no image predicts another; choose pair"
)
_NO_NEIGHBOUR = (
    "a mixture would be a target through its one nearest neighbour, which resembles one of the "
    "two sources at most; choose query"
)
_ONE_SHARE = (
    "its loss is no mean over images, one share has to weigh a whole batch's cross-correlation"
)
_OPTIONS: dict[str, dict[tuple[str, Any], str]] = {
    "barlow_twins": {
        ("pairing", "query"): _NO_PREDICTION,
        ("per_image", True): f"{_ONE_SHARE}; give one, expanded to all",  # of a branch
    },
    "nnbyol": {("pairing", "pair"): _NO_NEIGHBOUR},
    "nnclr": {("pairing", "pair"): _NO_NEIGHBOUR},
    "nnsiam": {("pairing", "pair"): _NO_NEIGHBOUR},
    "ressl": {
        ("pairing", "pair"): (
            "its loss has one direction only, there is no second one for a mixture to be the "
            "target of; choose query"
        )
    },
    "vicreg": {("pairing", "query"): _NO_PREDICTION},
}
_OF_MIXTURES = {"barlow_twins": {("per_sample", True): f"{_ONE_SHARE}; set it to false"}}


def check_options(method: str, kwargs: Mapping[str, Any]) -> None:
    """Refuses blocks and options that mean nothing for a method.

    Raises:
        ConfigError: naming the option of the filled ``method_kwargs``, and the reason.
    """
    for name, block in kwargs.items():
        if name not in blocks() or not isinstance(block, Mapping):
            continue
        if kind_of(name).hard_negatives and block.get("negatives", True):
            check_negatives(method, name)
        refused = _OPTIONS.get(method, {})
        if issubclass(kind_of(name), Mixing):
            refused = refused | _OF_MIXTURES.get(method, {})
        for (key, value), reason in refused.items():
            if block.get(key) == value:
                shown = str(value).lower()
                raise ConfigError(
                    f"method_kwargs.{name}.{key} is {shown}, but method is {method}: {reason}"
                )


def check_branch(method: Any, branch: Branch) -> None:
    """Refuses what means nothing for a method in a branch, whose strategy may be somebody else's.

    The branch's tensors are not read: that would wait for the device.

    Raises:
        ConfigError: naming the strategy, the field and the reason.
    """
    name, kwargs, large = method.cfg.method, method.cfg.method_kwargs, method.num_large_crops
    one_sided = name == "mocov2" and not kwargs.symmetric
    made = f"strategy {branch.name} makes a branch with"
    for (key, value), reason in (ONE_SIDED if one_sided else _OPTIONS.get(name, {})).items():
        if getattr(branch, key, None) == value:
            raise ConfigError(f"{made} {key} {value}, but method is {name}: {reason}")
    if not 0 <= branch.view < large:
        raise ConfigError(f"{made} view {branch.view}, but the large crops are 0 to {large - 1}")
    if branch.negatives is not None:
        check_negatives(name, branch.name)


def check_negatives(method: str, name: str) -> None:
    """Raises ConfigError, naming the methods that take them, where no negatives can be joined."""
    if FAMILIES[method].direction is None:
        able = [other for other, family in FAMILIES.items() if family.direction is not None]
        raise ConfigError(
            f"method_kwargs.{name} makes hard negatives, but method is {method}: its loss has no "
            f"negatives that one more could join; choose {listing(able)}, or remove the block"
        )


def check_method(method: Any) -> None:
    """Raises ConfigError, with the reason, for a method that this package cannot mix."""
    if method in REFUSED:
        raise ConfigError(
            f"method is {method}: no mixture is defined for it, since {REFUSED[method]}; choose "
            f"{listing(FAMILIES)}, or run it as it is with solo-learn's main_pretrain.py"
        )


def refusing(cls: type[Any], name: str, module: str = "mixmask_solo.methods.solo") -> type[Any]:
    """A host's method of ``REFUSED`` that runs as it is, and stops at a strategy's block.

    ``module`` will hold the class under its name, so that it pickles.
    """

    def add_and_assert_specific_cfg(cfg: Any) -> Any:
        """Refuses strategies' blocks, then the host's defaults and checks."""
        kwargs: Any = cfg.get("method_kwargs") or {}
        present = [block for block in blocks() if kwargs.get(block) is not None]
        if present:
            raise ConfigError(
                f"method_kwargs.{present[0]} is given, but method is {name}: no mixture is "
                f"defined for it, since {REFUSED[name]}; remove the block"
            )
        return cls.add_and_assert_specific_cfg(cfg)

    return type(
        f"Refusing{cls.__name__}",
        (cls,),
        {
            "__module__": module,
            "__doc__": f"{cls.__name__}, for which a strategy's block is an error.",
            # Static in the host, and it calls its parents by name.
            "add_and_assert_specific_cfg": staticmethod(add_and_assert_specific_cfg),
        },
    )

# SPDX-License-Identifier: MIT
"""The keys of ``method_kwargs.adios``, and what the rest of a run makes of those left out."""

from dataclasses import dataclass
from typing import Any, Literal

from mixmask_solo.config import ConfigError, listing, option
from mixmask_solo.networks import default_depth
from mixmask_solo.strategies.base import Pairing

_KEY = "method_kwargs.adios"
_METHODS = ("byol", "simclr", "simsiam", "mocov2", "mocov2plus")


@dataclass
class AdiosOptions:
    """The block ``method_kwargs.adios``.

    Args:
        slots: number of masks N.
        single: ADIOS-s, one slot drawn per image.
        alpha: factor of the penalty of areas.
        entropy: factor of the areas' negative entropy.
        schedule: who learns when.
        views: which have masked copies; null is ``both`` for SimSiam, else ``second`` (``first``
            for asymmetric MoCo, whose view 2 is only a key).
        pairing: ``pair``, or ``query`` (masked images only predict); null is ``query`` for MoCo.
        clean: the un-masked views count as a pair, too; null is true for SimSiam alone.
        both_masked: so do the masked copies of both (SimSiam); null is true there.
        width: channels of the occluder's first blocks.
        norm: of its blocks.
        depth: their number; null is floor(log2(size) - 1).
        size: edge of the views in pixels; null is that of ``augmentations``.
        lr: peak rate of the occluder, not scaled by the batch size.
        weight_decay: null is ``optimizer.weight_decay``, as published.
        momentum: of its SGD.
        eta: trust coefficient of LARS around it.
    """

    slots: int = option(4, low=2)
    single: bool = False
    alpha: float = option(0.75, low=0.0)
    entropy: float = option(0.0, low=0.0)
    schedule: Literal["alternating", "simultaneous"] = "alternating"
    views: Literal["first", "second", "both"] | None = None
    pairing: Pairing | None = None
    clean: bool | None = None
    both_masked: bool | None = None
    width: int = option(8, low=1)
    norm: Literal["group", "instance", "none"] = "group"
    depth: int | None = option(None, low=2)
    size: int | None = option(None, low=8)
    lr: float = option(0.499, above=0.0)
    weight_decay: float | None = option(None, low=0.0)
    momentum: float = option(0.9, low=0.0, high=1.0)
    eta: float = option(0.02, above=0.0)

    def validate(self, prefix: str) -> None:
        """Cross-checks the occluder's keys; raises ConfigError."""
        if self.norm == "group" and self.width % 8:
            raise ConfigError(
                f"{prefix}.width is {self.width}: norm group has 8 groups of channels; choose a "
                "multiple of 8, or norm instance or none"
            )

    def fill(self, cfg: Any) -> None:
        """Gives what is null the value that it has in the run ``cfg``.

        Raises:
            ConfigError: for methods, crops, sizes or a precision that ADIOS cannot work with.
        """
        _check_run(cfg)
        _fill_terms(self, cfg)
        _fill_network(self, cfg)
        if self.weight_decay is None:
            self.weight_decay = float(cfg.optimizer.weight_decay)


def _check_run(cfg: Any) -> None:
    """Raises ConfigError for a run that ADIOS is not made for."""
    method = cfg.get("method")
    if method not in _METHODS:
        raise ConfigError(
            f"{_KEY} is given, but method is {method}: ADIOS is published for byol, simclr and "
            f"simsiam; choose {listing(_METHODS)}, or remove the block"
        )
    if str(cfg.get("precision") or "32").startswith("16"):
        raise ConfigError(
            f"precision is {cfg.precision}, but {_KEY} is given: the occluder's own optimiser has "
            "no scaling of gradients; choose bf16-mixed or 32"
        )
    kwargs = cfg.get("method_kwargs") or {}
    for name in ("erase", "mscn", "saliency"):
        block = kwargs.get(name)
        if block is not None and not (name == "erase" and block.get("role") == "branch"):
            branch = ", set its role to branch" if name == "erase" else ""
            raise ConfigError(
                f"method_kwargs.{name} is given beside {_KEY}: it works through the method's own "
                f"loss of the views, which ADIOS takes the place of; remove one of them{branch}"
            )
    crops = [(a.crop_size, a.num_crops) for a in cfg.get("augmentations") or ()]
    if crops and (sum(n for _, n in crops) != 2 or len({size for size, _ in crops}) > 1):
        told = ", ".join(f"{n} of size {size}" for size, n in crops)
        raise ConfigError(
            f"augmentations makes crops of an image, {told}, but {_KEY} is given: ADIOS compares "
            "exactly 2 of one size; change them or remove the block"
        )


def _fill_terms(options: AdiosOptions, cfg: Any) -> None:
    """Which pairs of images count, by the method."""
    method, simsiam = cfg.method, cfg.method == "simsiam"
    one_sided = method == "mocov2" and not (cfg.get("method_kwargs") or {}).get("symmetric")
    if one_sided and options.views in ("second", "both"):
        raise ConfigError(
            f"{_KEY}.views is {options.views}: with method_kwargs.symmetric false view 2 is only a "
            "key; choose first, or set symmetric to true"
        )
    other = "first" if one_sided else "second"
    options.views = options.views or ("both" if simsiam else other)  # type: ignore[assignment]
    options.pairing = options.pairing or ("query" if method.startswith("moco") else "pair")
    options.clean = simsiam if options.clean is None else options.clean
    both = simsiam and options.views == "both"
    if options.both_masked and not both:
        raise ConfigError(
            f"{_KEY}.both_masked is true: it pairs the masked copies of both views, as published "
            "for simsiam with views both; leave it out"
        )
    options.both_masked = both if options.both_masked is None else options.both_masked


def _fill_network(options: AdiosOptions, cfg: Any) -> None:
    """Size of the images and depth of the occluder."""
    views = cfg.get("augmentations")
    found = views[0].crop_size if views else None
    if options.size is None:
        options.size = found
    if options.size is None or (found is not None and options.size != found):
        raise ConfigError(
            f"{_KEY}.size is {options.size}: the occluder is built for images of one size, and "
            f"augmentations[0].crop_size is {found}; leave size out, or give the crop's"
        )
    if options.size < 8:
        raise ConfigError(
            f"augmentations[0].crop_size is {options.size}: {_KEY} needs images of at least 8 "
            "pixels a side"
        )
    deepest = options.size.bit_length() - 1
    options.depth = options.depth or default_depth(options.size)
    if options.depth > deepest:
        raise ConfigError(
            f"{_KEY}.depth is {options.depth}: it halves an image of {options.size} pixels to "
            f"less than 2; choose at most {deepest}"
        )

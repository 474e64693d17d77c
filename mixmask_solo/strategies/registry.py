# SPDX-License-Identifier: MIT
"""Strategies by the name of their block under ``method_kwargs``: from YAML to modules.

A block is read once, by :func:`fill_blocks`: what it returns is stored with the run, and modules
are made of that as it stands. Another package brings a strategy by decorating it with
:func:`register` and naming its module in the entry points ``mixmask_solo.strategies``; a script may
just import it (docs/extending.md).
"""

import logging
from collections.abc import Collection, Iterable, Mapping, Sequence
from dataclasses import asdict, fields
from functools import cache
from inspect import getattr_static
from typing import Any, TypeVar

import torch
from torch import Tensor, nn

from mixmask_solo.config import ConfigError, check, to_values
from mixmask_solo.config.outside import load_outside, outside
from mixmask_solo.config.schema import METHOD_KWARGS
from mixmask_solo.objectives import full_precision
from mixmask_solo.strategies.adios import Adios
from mixmask_solo.strategies.base import Filter, Strategy
from mixmask_solo.strategies.erase import Erase
from mixmask_solo.strategies.mixmask import MixMask
from mixmask_solo.strategies.mscn import MSCN
from mixmask_solo.strategies.permutations import settle, share_partners
from mixmask_solo.strategies.saliency import Saliency
from mixmask_solo.strategies.step import seeded
from mixmask_solo.strategies.unmix import UnMix

log = logging.getLogger(__name__)
GROUP = "mixmask_solo.strategies"
_PERMUTATIONS = "permutations"
_LOGGED = ("class", "momentum_class", "mixture", "nce")  # train_<name>_loss means something else
_LOGGED_BY_SOLO = ("barlow", "contrastive", "nnclr", "ressl", "swav", "vicreg")  # likewise
_OURS: tuple[type[Strategy], ...] = (
    *(UnMix, MixMask),  # as the published MixMask* forwards them
    Erase,
    MSCN,
    Saliency,
    Adios,
)
_STRATEGIES: dict[str, type[Strategy]] = {kind.name: kind for kind in _OURS}
Kind = TypeVar("Kind", bound=type[Strategy])


def register(kind: Kind) -> Kind:
    """Class decorator that makes ``method_kwargs.<kind.name>`` the block of a strategy.

    Raises:
        ValueError: when the name is taken, or can be no block's.
    """
    if kind.name in (*_STRATEGIES, _PERMUTATIONS):
        raise ValueError(f"a strategy named {kind.name!r} is registered already")
    if unfit := _unfit(kind.name):
        raise ValueError(f"a strategy cannot be named {kind.name!r}: {unfit}")
    _STRATEGIES[kind.name] = kind
    return kind


def _unfit(name: str) -> str | None:
    """Why no block can have this name, if so."""
    if not name.isidentifier():
        return "that is no identifier"
    if hasattr(nn.ModuleDict(), name):
        return "that is an attribute of torch.nn.ModuleDict, which holds the strategies"
    if name in {f.name for keys in METHOD_KWARGS.values() for f in fields(keys)}:
        return f"method_kwargs.{name} is a method's own key"
    if name in (_PERMUTATIONS, *_LOGGED, *_LOGGED_BY_SOLO):
        return "that is a name of this package's own"
    return None


def _brought() -> list[str]:
    """Names that other packages bring; what can be no block's is left alone, never imported."""
    found = outside(GROUP)
    fit = [name for name in found if not _unfit(name)]
    for name in found.keys() - fit:
        _ignore(name, " and ".join(sorted({e.dist.name if e.dist else "?" for e in found[name]})))
    return fit


@cache
def _ignore(name: str, package: str) -> None:
    """Says so once."""
    told = "package %s brings a strategy named %r, which is ignored: %s; rename or remove it"
    log.warning(told, package, name, _unfit(name))


def blocks() -> tuple[str, ...]:
    """All keys of strategies under ``method_kwargs``, which every method takes."""
    return tuple(dict.fromkeys([*_STRATEGIES, _PERMUTATIONS, *_brought()]))


def kind_of(name: str) -> type[Strategy]:
    """The strategy of a block that is there."""
    return _STRATEGIES[name]


def fill_blocks(cfg: Any) -> dict[str, Any]:
    """``method_kwargs`` with every option of its blocks written out, partners as they really are.

    So two runs compare equal exactly when they are, and no later default changes what is stored.

    Args:
        cfg: a pretraining configuration; a block that is null is switched off.

    Raises:
        ConfigError: for an unknown key, a wrong type or an impossible value of a block, for blocks
            that contradict each other, or a package that cannot be loaded.
    """
    kwargs = to_values(cfg.get("method_kwargs"), "method_kwargs") or {}
    options = _read(kwargs)
    for name, block in options.items():
        _STRATEGIES[name].check(block, cfg)
    permutations = settle(kwargs.get(_PERMUTATIONS), options)
    filled = {**kwargs, **{name: asdict(block) for name, block in options.items()}}
    return filled | ({_PERMUTATIONS: permutations} if permutations else {})


def make_strategies(filled: Any, seed: int = 5) -> list[Strategy]:
    """The strategies of :func:`fill_blocks`' ``method_kwargs``.

    Ours come in the published order, others behind them by name: BatchNorm's running statistics
    and what filters make of each other depend on who comes first, and the order of a file's keys
    is no difference between runs.

    Args:
        filled: mapping or DictConfig.
        seed: of the run. A strategy's parameters depend on it and on its name alone, and the
            method's do not depend on strategies.
    """
    kwargs, made = to_values(filled) or {}, []
    for name in _present(kwargs):
        kind = _STRATEGIES[name]
        with torch.random.fork_rng(devices=[]):
            torch.default_generator.manual_seed(seeded(seed, name).initial_seed())
            made.append(kind(kind.options_type(**kwargs[name])))
    if kwargs.get(_PERMUTATIONS) == "same":
        share_partners(made)
    return made


def build_strategies(cfg: Any) -> list[Strategy]:
    """The strategies of any pretraining configuration; raises as :func:`fill_blocks` does."""
    return make_strategies(fill_blocks(cfg), int(cfg.get("seed", 5)))


def extra_crops(filled: Mapping[str, Any]) -> dict[str, int]:
    """Crops that strategies take for themselves, of a run's filled ``method_kwargs``."""
    options = _read(filled)
    return {name: _STRATEGIES[name].extra_crops(block) for name, block in options.items()}


class InputFilter:
    """What images ``(N, C, H, W)`` pass before any network: filters, one after the other.

    They see float32 in a run of any precision (a plain function float64 too), and the images keep
    their dtype: an evaluation filters as training did.
    """

    def __init__(self, filters: Sequence[Filter]) -> None:
        self.filters = filters

    def __call__(self, x: Tensor) -> Tensor:
        return full_precision(self._run)(x).to(x.dtype)

    def _run(self, x: Tensor) -> Tensor:
        for apply in self.filters:
            x = apply.to(x.device)(x.float()) if isinstance(apply, nn.Module) else apply(x)
        return x

    def before(self, module: nn.Module, args: tuple[Tensor, ...]) -> tuple[Tensor, ...]:
        """A forward pre-hook: it leaves a network's state_dict as it is."""
        return (self(args[0]), *args[1:])


def input_filter(options: Iterable[tuple[type[Strategy], Any]]) -> InputFilter | None:
    """The filters of strategies with these options; None where no strategy has one."""
    filters = [f for kind, block in options if (f := kind.input_filter(block)) is not None]
    return InputFilter(filters) if filters else None


def filtering(kwargs: Mapping[str, Any]) -> list[str]:
    """Names of the strategies that filter inputs, of a run's filled ``method_kwargs``."""
    options = _read(kwargs)
    return [n for n in options if _STRATEGIES[n].input_filter(options[n]) is not None]


def stored_filter(
    kwargs: Mapping[str, Any], recorded: Collection[str] | None = None
) -> InputFilter | None:
    """The filter of the run that stored these ``method_kwargs`` in its checkpoint.

    Args:
        kwargs: may hold more than this version knows.
        recorded: what :func:`filtering` said then; None where the checkpoint does not tell.

    Raises:
        ConfigError: for a filter of a strategy that is not installed here.
    """
    wanted = kwargs.keys() if recorded is None else recorded
    stored = {k: v for k, v in kwargs.items() if isinstance(v, Mapping) and k in wanted}
    for name in stored.keys() - set(blocks()):
        told = f"the checkpoint was trained with method_kwargs.{name}"
        if recorded is not None:
            raise ConfigError(
                f"{told}, a strategy that filters inputs, of a package that is not installed "
                "here: install the package"
            )
        missing = "no strategy of that name is installed here"
        log.warning("%s: %s; a filter of inputs, had it one, is not applied", told, missing)
    # Others may have changed their options since; they are left unread.
    none = getattr_static(Strategy, "input_filter")
    able = [n for n in _present(stored) if getattr_static(_STRATEGIES[n], "input_filter") != none]
    options = _read({name: stored[name] for name in able})
    return input_filter((_STRATEGIES[name], block) for name, block in options.items())


def _read(kwargs: Mapping[str, Any]) -> dict[str, Any]:
    """Options by name of the block."""
    return {
        name: check(kwargs[name], _STRATEGIES[name].options_type, f"method_kwargs.{name}")
        for name in _present(kwargs)
    }


def _present(kwargs: Mapping[str, Any]) -> list[str]:
    """Names of the strategies asked for, ours first, then by name; imports other packages'."""
    known = [name for name in blocks() if name != _PERMUTATIONS]
    present = [name for name, block in kwargs.items() if name in known and block is not None]
    for name in present:
        if name not in _STRATEGIES:
            load_outside(GROUP, name, f"method_kwargs.{name}", _STRATEGIES)
    ours = [kind.name for kind in _OURS]
    return [*(n for n in ours if n in present), *sorted(set(present) - set(ours))]

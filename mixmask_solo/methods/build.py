# SPDX-License-Identifier: MIT
"""Host method × mixin: the classes are made here, never written out pair by pair."""

from typing import Any

from mixmask_solo.config import ConfigError
from mixmask_solo.config.rules import extra_crops as which_crops
from mixmask_solo.config.schema.method import HEADS
from mixmask_solo.host import Host
from mixmask_solo.methods.families import FAMILIES
from mixmask_solo.methods.heads import JointViews, OtherHead, check_head
from mixmask_solo.methods.mixin import BranchesMixin
from mixmask_solo.methods.mocov2 import mocov2
from mixmask_solo.methods.online_knn import OnlineKNN
from mixmask_solo.methods.own_steps import HostLoss
from mixmask_solo.methods.refused import check_options
from mixmask_solo.strategies import blocks, extra_crops, fill_blocks


def build_methods(host: Host, module: str) -> dict[str, type[Any]]:
    """Classes with strategies, of a host's methods and ours, by method name.

    ``module`` will hold them under their own names, so that they pickle.
    """
    concrete = {**host.methods, "mocov2": mocov2(host)}
    return {
        name: _build(name, concrete[name], host, module) for name in FAMILIES if name in concrete
    }


def _build(name: str, concrete: type[Any], host: Host, module: str) -> type[Any]:
    momentum = issubclass(concrete, host.base_momentum)
    # The class whose `training_step` returns `out`: the mixin stands right above it.
    base = getattr(concrete, "step_base", host.base_momentum if momentum else host.base)
    front = [HostLoss, *([OtherHead] if name in HEADS else [])]
    behind = [JointViews] if name == "simclr" else []
    mixin = type("Momentum" * momentum + "Branches", (BranchesMixin, OnlineKNN, *behind, base), {})

    def add_and_assert_specific_cfg(cfg: Any) -> Any:
        """The host's defaults and checks, then those of the strategies' blocks, filled in."""
        cfg = concrete.add_and_assert_specific_cfg(cfg)
        check_head(name, cfg)
        filled = fill_blocks(cfg)
        check_options(name, filled)
        for block in filled.keys() & set(blocks()):
            cfg.method_kwargs[block] = filled[block]
        if host.name == "solo":
            _ask_for_crops(cfg, sum(extra_crops(filled).values()))
        return cfg

    cls = type(
        f"MixMask{concrete.__name__}",
        (*front, *host.extras, concrete, mixin),
        {
            "__module__": module,
            "__doc__": f"{concrete.__name__} of the {host.name} host, with strategies.",
            "family": FAMILIES[name],
            # Static in the host, and it calls its parents by name: a mixin is never asked.
            "add_and_assert_specific_cfg": staticmethod(add_and_assert_specific_cfg),
        },
    )
    _assert_order(cls, concrete, base)
    return cls


def _ask_for_crops(cfg: Any, taken: int) -> None:
    """Has solo-learn's own script load the crops that strategies take for themselves.

    It makes its loader of ``augmentations`` once it has the method, and has counted before. Our
    runs know the number, and add the crops where the data is opened.
    """
    if not taken or "num_extra_crops" in cfg.data:
        return
    if cfg.data.get("format") == "dali":
        raise ConfigError(
            f"data.format is dali: solo-learn's own loader by that name gives no crop but those of "
            f"the method, and strategies take {taken} more; set data.format to image_folder, or "
            "run it with mixmask-pretrain"
        )
    cfg.data.num_extra_crops = taken
    entries = cfg.augmentations
    entries.extend([{**entries[i], "num_crops": 1} for i in which_crops(entries, taken)])


def _assert_order(cls: type[Any], concrete: type[Any], base: type[Any]) -> None:
    order = cls.__mro__
    if not order.index(concrete) < order.index(BranchesMixin) < order.index(base):
        names = " -> ".join(c.__name__ for c in order)
        raise TypeError(
            f"{cls.__name__}: the mixin must stand between {concrete.__name__} and "
            f"{base.__name__}, but the order is {names}"
        )

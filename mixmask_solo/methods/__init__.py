# SPDX-License-Identifier: MIT
"""Methods with strategies: the built-in host's on either host, further ones on solo-learn."""

from collections.abc import Collection, Mapping
from importlib import import_module
from typing import Any

from torch import nn

from mixmask_solo.host import load
from mixmask_solo.strategies import stored_filter

__all__ = ["filter_inputs", "get_method", "get_methods"]


def get_methods(host: str = "auto") -> dict[str, type[Any]]:
    """Method classes by name.

    Args:
        host: ``solo``, ``builtin``, or ``auto`` (solo-learn where a usable one is importable).
    """
    methods: dict[str, type[Any]] = import_module(f"{__name__}.{load(host).name}").METHODS
    return methods


def get_method(name: str, host: str = "auto") -> type[Any]:
    """The class of ``method: name`` on ``solo``, ``builtin`` or ``auto``.

    Raises:
        ImportError: for ``solo`` without a usable solo-learn.
        ValueError: for a method that only solo-learn has where it is not the host.
    """
    if name in get_methods("builtin"):
        return get_methods(host)[name]
    needs = f"method {name} needs solo-learn: docs/solo-learn.md says how to install it"
    if host == "builtin":
        raise ValueError(f"{needs} and set host to solo (it is builtin)")
    try:
        return get_methods("solo")[name]
    except ImportError as error:
        raise ValueError(f"{needs} ({error.__cause__ or error})") from error


def filter_inputs(
    backbone: nn.Module, config: Mapping[str, Any], recorded: Collection[str] | None = None
) -> nn.Module:
    """Has a backbone filter its input, in place, as the run that stored ``config`` did.

    By a hook, so that its ``state_dict`` keeps its names. ``recorded``, and the ConfigError, as
    :func:`stored_filter`'s.
    """
    found = stored_filter(config.get("method_kwargs") or {}, recorded)
    if found is not None:
        backbone.register_forward_pre_hook(found.before)
    return backbone

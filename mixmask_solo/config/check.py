# SPDX-License-Identifier: MIT
"""A dataclass against a YAML node: unknown keys, wrong types and values stop here."""

from __future__ import annotations

from collections.abc import Collection, Mapping
from dataclasses import MISSING, Field, fields, is_dataclass
from types import NoneType, UnionType
from typing import Any, TypeVar, Union, get_args, get_origin, get_type_hints

from mixmask_solo.config.errors import ConfigError
from mixmask_solo.config.nearest import did_you_mean, listing
from mixmask_solo.config.plain import plain
from mixmask_solo.config.values import admits_null, convert, describe

__all__ = ["check"]

T = TypeVar("T")


def check(node: Any, schema: type[T], prefix: str, *, extra: Collection[str] = ()) -> T:
    """Reads a configuration node into an instance of ``schema``.

    A key that is absent, or null where null is not a value, takes the field's default. Where the
    schema has a method ``validate(prefix)`` it is called last, for rules between fields. Where it
    has a class method ``extra_keys(values) -> Collection[str]``, the keys it returns are allowed
    and left alone.

    Args:
        node: DictConfig, dict or None (all defaults).
        schema: a dataclass; its type hints and field metadata (``option``) are the rules.
        prefix: full key of the node, ``""`` for the root.
        extra: further keys that are allowed and left alone.

    Returns:
        The instance, with nested dataclasses filled in.

    Raises:
        ConfigError: one line with the full key, the value, what is allowed and the nearest key.
    """
    values = plain(node, prefix)
    if values is None:
        values = {}
    if not isinstance(values, Mapping):
        names = listing((f.name for f in fields(schema)), "and")  # type: ignore[arg-type]
        raise ConfigError(f"{prefix} is {values!r}: give a block with keys among {names}")
    more = getattr(schema, "extra_keys", None)
    if more is not None:
        extra = [*extra, *more(values)]
    _refuse_unknown(values, schema, prefix, extra)
    hints = get_type_hints(schema)
    given = {
        f.name: _read(values.get(f.name), hints[f.name], _join(prefix, f.name), f)
        for f in fields(schema)  # type: ignore[arg-type]
        if _is_given(values, f, hints[f.name], prefix)
    }
    instance = schema(**given)
    validate = getattr(instance, "validate", None)
    if validate is not None:
        validate(prefix)
    return instance


def _refuse_unknown(
    values: Mapping[Any, Any], schema: type[Any], prefix: str, extra: Collection[str]
) -> None:
    own = [f.name for f in fields(schema)]
    for key in values:
        if key not in own and key not in extra:
            near = did_you_mean(str(key), {*own, *extra})
            raise ConfigError(
                f"unknown key {_join(prefix, str(key))}{near}: "
                f"{prefix or 'the configuration'} takes {listing(own, 'and')}"
            )


def _is_given(values: Mapping[Any, Any], f: Field[Any], hint: Any, prefix: str) -> bool:
    """Whether to read the key (or else to take its default); refuses a missing required one."""
    if values.get(f.name) is not None or (f.name in values and admits_null(hint)):
        return True
    if isinstance(hint, type) and is_dataclass(hint):
        return True  # an absent block may still lack a required key
    if f.default is MISSING and f.default_factory is MISSING:
        what = describe(hint, f.metadata)
        raise ConfigError(f"{_join(prefix, f.name)} is missing: {what}")
    return False


def _read(value: Any, hint: Any, key: str, f: Field[Any]) -> Any:
    block = _block(hint)
    if block is not None:
        return None if value is None and admits_null(hint) else check(value, block, key)
    (item,) = get_args(hint) if get_origin(hint) is list else (None,)
    if isinstance(item, type) and is_dataclass(item):
        if not isinstance(value, list):
            raise ConfigError(f"{key} is {value!r}: give a list of blocks")
        return [check(entry, item, f"{key}[{i}]") for i, entry in enumerate(value)]
    return convert(value, hint, key, f.metadata)


def _block(hint: Any) -> Any:
    """The dataclass of a hint ``Block`` or ``Block | None``."""
    union = get_origin(hint) in (Union, UnionType)
    members = [h for h in get_args(hint) if h is not NoneType] if union else [hint]
    single = len(members) == 1 and isinstance(members[0], type) and is_dataclass(members[0])
    return members[0] if single else None


def _join(prefix: str, name: str) -> str:
    return f"{prefix}.{name}" if prefix else name

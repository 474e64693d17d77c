# SPDX-License-Identifier: MIT
"""A dataclass against a YAML node: unknown keys, wrong types and values stop here.

Not pydantic's work: it costs every command 0.4 s (this 0.05 s), takes "2" for a whole number or the
text ``1e-4`` for none, and making our one line of its list would need most of ``option.py`` again.
"""

import re
from collections.abc import Collection, Mapping
from dataclasses import MISSING, fields, is_dataclass
from types import NoneType
from typing import Any, TypeVar, get_args, get_origin, get_type_hints

from omegaconf import OmegaConf
from omegaconf.errors import OmegaConfBaseException

from mixmask_solo.config.errors import ConfigError, did_you_mean, listing
from mixmask_solo.config.option import convert, describe, members

T = TypeVar("T")
_EXAMPLES = {"pretrained_feature_extractor": "trained_models/METHOD/NAME (a run's folder)"}
_FEW = 12  # further keys that are listed with a node's own


def check(node: Any, schema: type[T], prefix: str, *, extra: Collection[str] = ()) -> T:
    """Reads a configuration node into an instance of ``schema``, nested dataclasses included.

    A key that is absent, or null where null is not a value, takes the field's default. Where the
    schema has a method ``validate(prefix)`` it is called last, for rules between fields. Where it
    has a class method ``choose(values) -> (schema, extra)``, these two take the place of its own.

    Args:
        node: DictConfig, dict or None (all defaults).
        schema: a dataclass; its type hints and field metadata (``option``) are the rules.
        prefix: full key of the node, ``""`` for the root.
        extra: further keys that are allowed and left alone.

    Raises:
        ConfigError: one line with the full key, the value, what is allowed and the nearest key.
    """
    values = {} if node is None else to_values(node, prefix)
    choose = getattr(schema, "choose", None)
    if choose is not None:
        schema, extra = choose(values if isinstance(values, Mapping) else {})
    own = {f.name: f for f in fields(schema)}  # type: ignore[arg-type]
    if not isinstance(values, Mapping):
        raise ConfigError(
            f"{prefix} is {values!r}: give a block with keys among {listing(own, 'and')}"
        )
    for key in values:
        if key not in own and key not in extra:
            raise ConfigError(
                f"unknown key {_full_key(prefix, key)}{did_you_mean(str(key), {*own, *extra})}: "
                f"{prefix or 'the configuration'} takes {_listed(own, extra)}"
            )
    given, hints = {}, get_type_hints(schema)
    for name, f in own.items():
        value, hint, full = values.get(name), hints[name], _full_key(prefix, name)
        null = name in values and value is None and _admits_null(hint)
        if value is not None or null or is_dataclass(hint):  # its block may lack a required key
            given[name] = _read(value, hint, full, f.metadata)
        elif f.default is MISSING and f.default_factory is MISSING:
            raise ConfigError(f"{full} is missing: {describe(hint, f.metadata)}")
    instance = schema(**given)
    if hasattr(instance, "validate"):
        instance.validate(prefix)
    return instance


def _listed(own: Collection[str], extra: Collection[str]) -> str:
    """Keys of a node, and where they are few the others that it may have."""
    more = f"; blocks are {listing(extra, 'and')}" if 0 < len(extra) <= _FEW else ""
    return f"{listing(own, 'and')}{more}"


def with_defaults(values: Mapping[str, Any] | None, block: Any) -> dict[str, Any]:
    """A checked block as a dict again: the user's keys in their order, converted, then the rest.

    Keys of ``values``, which ``block`` was read from, are kept where it does not know them.
    """
    result = dict(values or {})
    for f in fields(block):
        value = getattr(block, f.name)
        if value is None and f.metadata.get("absent"):
            result.pop(f.name, None)
        elif is_dataclass(value):
            result[f.name] = with_defaults(result.get(f.name), value)
        elif isinstance(value, list) and any(is_dataclass(item) for item in value):
            entries = zip(result[f.name], value, strict=True)
            result[f.name] = [with_defaults(given, item) for given, item in entries]
        else:
            result[f.name] = value
    return result


def to_values(node: Any, prefix: str = "") -> Any:
    """Copies a node, OmegaConf's or plain, into dicts, lists and scalars.

    Raises ConfigError, naming the key below ``prefix``, for an interpolation that leads nowhere or
    a value still ``???``.
    """
    if OmegaConf.is_config(node):
        try:
            node = OmegaConf.to_container(node, resolve=True, throw_on_missing=False)
        except OmegaConfBaseException as error:
            key = error.full_key or prefix or "the configuration"
            raise ConfigError(f"{key} cannot be resolved: {str(error).splitlines()[0]}") from None
    if isinstance(node, dict):
        return {k: to_values(v, _full_key(prefix, k)) for k, v in node.items()}
    if isinstance(node, (list, tuple)):
        return [to_values(v, f"{prefix}[{i}]") for i, v in enumerate(node)]
    if node == "???":
        example = _EXAMPLES.get(prefix, "...")
        raise ConfigError(
            f"{prefix} is missing (???): give it a value, e.g. as an argument, {prefix}={example}"
        )
    return node


def _full_key(prefix: str, name: object) -> str:
    """``prefix.name``, without the dot at the root."""
    return f"{prefix}.{name}" if prefix else str(name)


def get(cfg: Any, key: str, default: Any = None) -> Any:
    """A dotted key as a plain value; ``default`` where it is absent or null."""
    node = cfg if OmegaConf.is_config(cfg) else OmegaConf.create(cfg)
    value = OmegaConf.select(node, key, default=None)
    return default if value is None else to_values(value, key)


def literal(value: Any) -> Any:
    """Plain values whose strings a node gives back as they are, ``${`` in them included."""
    if isinstance(value, dict):
        return {k: literal(v) for k, v in value.items()}
    if isinstance(value, list):
        return [literal(v) for v in value]
    if isinstance(value, str):
        return re.sub(r"(\\*)\$\{", r"\1\1\\${", value)
    return value


def _read(value: Any, hint: Any, key: str, limits: Mapping[str, Any]) -> Any:
    block: Any = next((member for member in members(hint) if is_dataclass(member)), None)
    if block is not None:
        return None if value is None and _admits_null(hint) else check(value, block, key)
    if get_origin(hint) is not list or not is_dataclass(get_args(hint)[0]):
        return convert(value, hint, key, limits)
    if not isinstance(value, list):
        raise ConfigError(f"{key} is {value!r}: give a list of blocks")
    return [check(entry, get_args(hint)[0], f"{key}[{i}]") for i, entry in enumerate(value)]


def _admits_null(hint: Any) -> bool:
    return hint is Any or NoneType in members(hint)

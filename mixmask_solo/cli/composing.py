# SPDX-License-Identifier: MIT
"""What was wrong with a file or an override that could not be composed, in one line."""

import re
from collections.abc import Collection, Iterator, Mapping, Sequence
from contextlib import suppress
from dataclasses import fields, is_dataclass
from difflib import get_close_matches
from pathlib import Path
from typing import Any, NoReturn, get_args, get_origin, get_type_hints

from mixmask_solo.config import ConfigError, did_you_mean, listing

_SHOWN = 8
_DOCS = re.compile(r"\s*See https://hydra\.cc\S* for details")


def read_arguments(arguments: Sequence[str]) -> Any:
    """What Hydra reads: ``config_path``, ``config_dir``, ``config_name``, ``overrides``, flags;
    and in ``ordered`` all words, overrides last: it takes those in one piece only.

    Raises ConfigError for an option that there is not, and without a file.
    """
    from hydra._internal.utils import get_args_parser

    def refuse(message: str) -> NoReturn:
        raise ConfigError(f"{message} (see --help)")

    parser = get_args_parser()
    parser.error = refuse  # type: ignore[method-assign]
    args, unknown = parser.parse_known_args(list(arguments))
    options = [o for action in parser._actions for o in action.option_strings]
    for word in unknown:
        if word.startswith("-"):
            raise ConfigError(f"unknown option {word}{_as_key(word, options)} (see --help)")
    args.overrides += unknown
    options_alone = [word for word in arguments if word not in args.overrides]
    args.ordered = [*options_alone, *args.overrides]
    if not args.config_name:
        raise ConfigError("give --config-path FOLDER and --config-name FILE (see --help)")
    return args


def _as_key(word: str, options: Sequence[str]) -> str:
    """What to write in the place of an option that there is not."""
    name, _, value = word.lstrip("-").partition("=")
    if name.replace("-", "_") in ("resume", "auto_resume"):
        return ": auto_resume.enabled=true goes on with it, resume_from_checkpoint=FILE with a file"
    key = next((k for k in (name, name.replace("-", "_")) if k in set(_known())), None)
    if key is not None:
        return f": keys go without dashes, write {key}={value or 'VALUE'}"
    return did_you_mean(word.partition("=")[0], options)


def explain(
    error: Exception, path: str | None, name: str | None, overrides: Sequence[str] = ()
) -> str:
    """The line for what Hydra, OmegaConf or the YAML reader raised.

    ``path`` and ``name`` are those of ``--config-path`` and ``--config-name``.
    """
    text = " ".join(_DOCS.sub("", str(error)).split())
    mark = getattr(error, "problem_mark", None)
    if mark is not None:
        return _of_yaml(error, mark)
    if "Cannot find primary config" in text:
        return _no_file(path, name)
    if wrong := next((o for o in overrides if not _readable(o)), None):
        return _unreadable(wrong)
    if several := re.match(r"Ambiguous value for argument '(.*)' 1\. ", text):
        key, _, value = several[1].partition("=")
        return (
            f"{several[1]}: several values are a sweep, which -m asks for; a list is written "
            f"'{key}=[{value}]', a text '{key}=\"{value}\"'"
        )
    if lost := re.match(r"Could not override '(.*?)'\.", text):
        group = "To append to your default list" in text
        return _no_key(lost[1], path, name, overrides, group=group)
    if "An item is already at" in text:
        key = text.partition("An item is already at ")[2].partition("'.")[0].strip("'")
        return f"+{key}: the file has this key; leave out the +, or write ++ to have it either way"
    return text


def _of_yaml(error: Any, mark: Any) -> str:
    tab = r"'\t'" in str(error.problem)
    remedy = "; YAML is indented by spaces, not by tabs" if tab else ""
    place = f"{mark.name}, line {mark.line + 1}, column {mark.column + 1}"
    return f"{place}: {error.problem}{remedy}"


def _no_file(path: str | None, name: str | None) -> str:
    if not path:
        return f"--config-name {name}: give --config-path FOLDER with it, the folder it lies in"
    folder = Path(path.removeprefix("file://"))
    stem = str(name).removesuffix(".yaml").removesuffix(".yml")
    there = sorted(file.stem for file in folder.glob("*.y*ml"))
    near = did_you_mean(stem, there)
    if not there:
        inner = sorted(p.name for p in folder.glob("*/") if any(p.glob("*.yaml")))
        within = f"; folders in it hold some: {listing(inner, 'and')}" if inner else ""
        return f"--config-name {name}: there is no YAML file in {folder}{within}"
    shown = get_close_matches(stem, there, _SHOWN, 0.0)
    more = f" and {len(there) - len(shown)} more" if len(there) > len(shown) else ""
    return (
        f"--config-name {name}: no such file in {folder}{near}; it holds {', '.join(shown)}{more}"
    )


def _readable(override: str) -> bool:
    from hydra.core.override_parser.overrides_parser import OverridesParser
    from hydra.errors import HydraException

    try:
        OverridesParser.create().parse_override(override)
    except HydraException:
        return False
    return True


def _unreadable(override: str) -> str:
    if "=" not in override:
        return f"{override!r} is no override: give key=value"
    return (
        f"{override!r} cannot be read: brackets and quotes have to be closed, and a value with "
        "spaces, commas or = needs quotes of its own, as in 'key=\"a, b\"'"
    )


def _no_key(
    key: str, path: str | None, name: str | None, overrides: Sequence[str], *, group: bool
) -> str:
    given = next((o for o in overrides if o.partition("=")[0] == key), f"{key}=...")
    value = given.partition("=")[2]
    if group:
        return f"{key}: a group of files that is not in the list of defaults; add it: +{given}"
    there = set(_there(path, name))
    known = set(_known(there))
    if key == "pretrained_feature_extractor" and "method" in there:
        return f"{name} is a recipe of pretraining, not of a probe: those are in scripts/linear"
    if key in known:
        return f"{key}: the file has no such key yet; add it with a +: +{given}"
    found = _meant(key, there, known)
    if found is None:
        return f"{key}: there is no such key; scripts and docs/configuration.md name them"
    plus = "" if found in there else "+"
    return f"{key}: there is no such key (did you mean {plus}{found}={value}?)"


def _meant(key: str, there: set[str], known: set[str]) -> str | None:
    """The key that was most likely meant: one without what is above it, a sibling by its last
    part, else any; of each kind rather one of the file, and a short one."""
    parent, _, last = key.rpartition(".")
    for keys in (there, known):
        if ending := sorted((k for k in keys if k.endswith(f".{key}")), key=lambda k: (len(k), k)):
            return ending[0]
    for keys in (there, known):
        siblings = {k.rpartition(".")[2]: k for k in keys if k.rpartition(".")[0] == parent}
        if near := get_close_matches(last, siblings, 1, 0.6):
            return siblings[near[0]]
    for keys in (there, known):
        if near := get_close_matches(key, keys, 1, 0.6):
            return near[0]
    return None


def _there(path: str | None, name: str | None) -> Iterator[str]:
    """All keys of the file, as it is composed without overrides."""
    from omegaconf import OmegaConf

    from mixmask_solo.cli.compose import compose

    if path and name:
        cfg = compose(path.removeprefix("file://"), name)
        yield from _flat(OmegaConf.to_container(cfg, resolve=False))


def _flat(node: Any, prefix: str = "") -> Iterator[str]:
    if isinstance(node, Mapping):
        for key, value in node.items():
            full = f"{prefix}.{key}" if prefix else str(key)
            yield full
            yield from _flat(value, full)


def _known(there: Collection[str] = ()) -> Iterator[str]:
    """All keys that a run may have, strategies' blocks among them; of the kind that has the keys
    ``there``, or of any."""
    from mixmask_solo.config.schema import Detect, Finetune, Linear, Pretrain
    from mixmask_solo.strategies import blocks, kind_of

    kinds: list[type[Any]] = [Pretrain, Linear, Finetune, Detect]
    if "detector" in there:
        kinds = [Detect]
    elif there:
        kinds = [Pretrain] if "method" in there else [Linear, Finetune]
    for schema in kinds:
        yield from _of_schema(schema, "")
    if Pretrain not in kinds:
        return
    for name in blocks():
        yield f"method_kwargs.{name}"
        with suppress(KeyError):  # permutations has no keys, and what others bring is not loaded
            yield from _of_schema(kind_of(name).options_type, f"method_kwargs.{name}")


def _of_schema(schema: type[Any], prefix: str) -> Iterator[str]:
    hints = get_type_hints(schema)
    for field in fields(schema):
        full = f"{prefix}.{field.name}" if prefix else field.name
        yield full
        hint = hints[field.name]
        if get_origin(hint) is list:  # its entries have no names
            continue
        for part in (hint, *get_args(hint)):
            if isinstance(part, type) and is_dataclass(part):
                yield from _of_schema(part, full)

# SPDX-License-Identifier: MIT
"""What other packages bring, by their entry points; nothing of it is imported before it is used."""

from collections.abc import Container
from functools import cache
from importlib.metadata import EntryPoint, entry_points

from mixmask_solo.config.errors import ConfigError


@cache
def outside(group: str) -> dict[str, list[EntryPoint]]:
    """Entry points of installed packages by name; a name may be brought by several."""
    found: dict[str, list[EntryPoint]] = {}
    for entry in entry_points(group=group):
        found.setdefault(entry.name, []).append(entry)
    return found


def load_outside(group: str, name: str, key: str, registered: Container[str]) -> None:
    """Imports the module of entry point ``name``, which ``key`` in the configuration asks for.

    Raises ConfigError, naming the package, where that fails or adds no ``name`` to ``registered``.
    """
    found = outside(group)[name]
    packages = sorted({entry.dist.name if entry.dist else "?" for entry in found})
    if len(packages) > 1:
        raise ConfigError(f"{key} is brought by {' and '.join(packages)}: uninstall all but one")
    what = f"{key} is brought by package {packages[0]} (entry point {name} = {found[0].value})"
    try:
        found[0].load()
    except (Exception, SystemExit) as error:  # whatever somebody else's module does
        reason = f"{type(error).__name__}: {error}".splitlines()[0]
        raise ConfigError(f"{what}, which cannot be loaded ({reason}): mend or remove it") from None
    if name not in registered:
        raise ConfigError(f"{what}, which registers no {name}: mend or remove it")

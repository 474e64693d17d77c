# SPDX-License-Identifier: MIT
"""The one exception a wrong configuration ends in, and the words of its line."""

from collections.abc import Collection, Iterable
from difflib import get_close_matches


class ConfigError(ValueError):
    """A configuration the user has to change.

    The message is one line: the key, the value found, what is allowed. The command line
    prints it without a traceback and leaves with exit code 2.
    """

    def __init__(self, message: str) -> None:
        super().__init__(" ".join(message.split()))


def require_known(key: str, name: object, known: Collection[str]) -> None:
    """Raises ConfigError for a name that is none of those known."""
    if name not in known:
        near = did_you_mean(str(name), known)
        raise ConfigError(f"{key} is {name!r}: choose {listing(known)}{near}")


def did_you_mean(name: str, known: Collection[str]) -> str:
    """`` (did you mean x?)`` with the known name most like it, or nothing when none is close."""
    lowered = {k.lower(): k for k in sorted(known, reverse=True)}
    found = get_close_matches(name.lower(), lowered, n=1, cutoff=0.6)
    return f" (did you mean {lowered[found[0]]}?)" if found else ""


def listing(names: Iterable[object], last: str = "or") -> str:
    """``a, b or c``."""
    *words, end = [str(name) for name in names] or [""]
    return f"{', '.join(words)} {last} {end}" if words else end

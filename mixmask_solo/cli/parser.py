# SPDX-License-Identifier: MIT
"""Arguments of the commands that are not Hydra's."""

import argparse
import re
from collections.abc import Callable
from importlib.metadata import version
from typing import Any, NoReturn

from mixmask_solo import __version__
from mixmask_solo.cli.ending import fail
from mixmask_solo.config import did_you_mean


class Parser(argparse.ArgumentParser):
    """One that complains in one line, takes overrides anywhere, and tells its version."""

    def __init__(self, *args: Any, **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        self.description = (self.description or "").replace("``", "") or None
        if self.add_help:  # else it is a part of others
            help_ = "print versions and exit"
            self.add_argument("--version", action=_Version, nargs=0, help=help_)

    def parse_args(self, args: Any = None, namespace: Any = None) -> Any:
        """As argparse's, which takes positional words in one piece only."""
        found, unknown = self.parse_known_args(args, namespace)
        if hasattr(found, "overrides"):
            words = [word for word in unknown if not word.startswith("-")]
            found.overrides += words
            unknown = [word for word in unknown if word not in words]
        if unknown:
            name = unknown[0].partition("=")[0]
            self.error(f"unknown argument {unknown[0]}{did_you_mean(name, self._options())}")
        return found

    def _options(self) -> list[str]:
        """Of this one, and of its commands."""
        inner = [
            p for a in self._actions if isinstance(a.choices, dict) for p in a.choices.values()
        ]
        actions = [action for parser in (self, *inner) for action in parser._actions]
        return [option for action in actions for option in action.option_strings]

    def error(self, message: str) -> NoReturn:
        if wrong := re.search(r"invalid choice: '(.*?)' \(choose from (.*)\)", message):
            choices = re.findall(r"[\w-]+", wrong[2])
            message += did_you_mean(wrong[1], choices)
        fail(self.prog, f"{message} (see --help)")


class _Version(argparse.Action):
    def __call__(self, *_: Any, **__: Any) -> NoReturn:
        tell_version()


def tell_version() -> NoReturn:
    """Prints the versions of this package and of what it stands on, and exits."""
    others = ", ".join(f"{name} {version(name)}" for name in ("torch", "lightning"))
    print(f"mixmask_solo {__version__} ({others})")
    raise SystemExit(0)


def at_least(low: int) -> Callable[[str], int]:
    """The type of an argument that counts something."""

    def parse(text: str) -> int:
        value = int(text) if text.isdigit() else -1
        if value < low:
            raise argparse.ArgumentTypeError(f"{text!r} is no whole number of at least {low}")
        return value

    return parse


def share(text: str) -> float:
    """The type of an argument that is a part of something: above 0, at most 1."""
    try:
        value = float(text)
    except ValueError:
        value = 0.0
    if not 0 < value <= 1:
        raise argparse.ArgumentTypeError(f"{text!r} is no share above 0, at most 1")
    return value

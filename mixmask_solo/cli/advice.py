# SPDX-License-Identifier: MIT
"""Command lines to paste: quoted for Hydra's override grammar, then for the shell."""

from __future__ import annotations

import re
import shlex
from collections.abc import Sequence

from mixmask_solo.config.nodes import literal

__all__ = ["hydra_value", "resume_command"]

_KEY = "resume_from_checkpoint"
# Read as this very string without quotes: the slash rules out numbers, booleans and null.
_PLAIN = re.compile(r"[\w.+-]*/[\w./+-]*", re.ASCII)
# What would contradict the new override, or turn a job into the sweep that it came from.
_DROPPED = re.compile(rf"[~+]*({_KEY}|auto_resume(\.\w+)*)(=.*)?|-m|--multirun", re.DOTALL)


def hydra_value(text: str) -> str:
    """A string as the part of an override after ``key=``; an interpolation in it stays text."""
    from hydra.core.override_parser.types import Quote, QuotedString

    if _PLAIN.fullmatch(text):
        return text
    return QuotedString(literal(text), Quote.double).with_quotes()


def resume_command(command: str, arguments: Sequence[str], checkpoint: str) -> str:
    """A line for the shell that goes on from ``checkpoint``.

    Args:
        command: name of the command.
        arguments: what the user gave it; overrides about resuming, and ``-m``, are left out.
        checkpoint: the file.
    """
    kept = [argument for argument in arguments if not _DROPPED.fullmatch(argument)]
    return shlex.join([command, *kept, f"++{_KEY}={hydra_value(checkpoint)}"])

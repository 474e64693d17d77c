# SPDX-License-Identifier: MIT
"""Values as a command line of Hydra's has to have them."""

import re

from mixmask_solo.config.check import literal

# Read as this very string without quotes: the slash rules out numbers, booleans and null.
_PLAIN = re.compile(r"[\w.+-]*/[\w./+-]*", re.ASCII)


def hydra_value(text: str) -> str:
    """A string as the part of an override after ``key=``; an interpolation in it stays text."""
    from hydra.core.override_parser.types import Quote, QuotedString

    if _PLAIN.fullmatch(text):
        return text
    return QuotedString(literal(text), Quote.double).with_quotes()

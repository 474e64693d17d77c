# SPDX-License-Identifier: MIT
"""What an export of ours tells of its network: in the file, or beside one that has no room."""

import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from mixmask_solo.config import ConfigError
from mixmask_solo.records.checkpoints import FACTS, META, checksum

OF_FILE = "file_crc32"  # beside a file: of which one these are the facts
_BLOCKS = ("backbone", "filter_blocks")  # facts that every export tells


def exported_facts(content: Mapping[str, Any], file: Path) -> dict[str, Any]:
    """The facts; empty where nothing is told.

    Raises:
        ConfigError: where they are damaged, or another file's: without its filter a network would
            be measured on images that it has never seen.
    """
    place = Path(f"{file}.json")
    facts, where = content.get(FACTS), f"checkpoint '{file}'"
    if facts is None and META not in content and place.is_file():
        where = f"'{place}', which tells of the weights beside it,"
        try:
            facts = json.loads(place.read_bytes())
        except (OSError, ValueError, RecursionError):
            raise ConfigError(f"{where} cannot be read: export the network again") from None
    if not isinstance(facts, dict) or not any(key in facts for key in _BLOCKS):
        return {}  # nothing, or somebody else's
    if not all(isinstance(facts.get(key), dict) for key in _BLOCKS):
        raise ConfigError(f"{where} has damaged facts: export the network again")
    if facts.get(OF_FILE) not in (None, f"{checksum(file):08x}"):
        raise ConfigError(f"{where} is of another file: export the network again, or remove it")
    return facts

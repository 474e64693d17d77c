# SPDX-License-Identifier: MIT
"""Which probes on a page measured the networks of which runs."""

from collections.abc import Sequence
from datetime import datetime
from pathlib import Path
from typing import Any

from mixmask_solo.config.free import tells_apart
from mixmask_solo.records.registry.record import LAST
from mixmask_solo.report.page.data import PageRun

_NETWORK = "pretrained_feature_extractor"
_NEVER = datetime.fromisoformat("1970-01-01T00:00:00+00:00")


def probes_of(own: Sequence[PageRun], runs: Sequence[PageRun]) -> list[PageRun]:
    """Of each of ``own`` the latest completed linear probe of its last checkpoint, if ``runs``
    hold one; none that began before the run had ended, with an earlier network."""
    found = []
    for run in own:
        its = [probe for probe in runs if _is_of(probe, run, runs)]
        if its:
            found.append(max(its, key=lambda probe: _moment(probe, "ended", -1) or _NEVER))
    return found


def unlike(probes: Sequence[PageRun]) -> list[str]:
    """The keys, other than seed and network, in which probes differ: no mean is over them."""
    settings = [
        {key: value for key, value in probe.settings().items() if _counts(key)} for probe in probes
    ]
    keys = sorted({key for one in settings for key in one})
    return [key for key in keys if any(one.get(key) != settings[0].get(key) for one in settings)]


def _counts(key: str) -> bool:
    return tells_apart(key) and key != _NETWORK


def _is_of(probe: PageRun, run: PageRun, runs: Sequence[PageRun]) -> bool:
    config = probe.record.config
    path = Path(str(config.get(_NETWORK) or ""))
    if path.name != LAST or config.get("finetune") or probe.record.state() != "completed":
        return False
    folder = run.record.folder.resolve()
    several = sum(other.record.folder.resolve().name == folder.name for other in runs) > 1
    # A run that was moved keeps its name, which no other has unless it was given by hand.
    moved = not several and path.parent.name == folder.name
    same = moved or path.resolve().parent == folder
    began, ended = _moment(probe, "started", 0), _moment(run, "ended", -1)
    return same and (began is None or ended is None or began >= ended)


def _moment(run: PageRun, key: str, piece: int) -> datetime | None:
    """None where the record does not tell, or not of which time zone."""
    try:
        found: Any = datetime.fromisoformat(run.record.result["pieces"][piece][key])
    except (LookupError, TypeError, ValueError):
        return None
    return found if found.tzinfo else None

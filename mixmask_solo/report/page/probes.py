# SPDX-License-Identifier: MIT
"""Which probes on a page measured the networks of which runs."""

from collections import Counter, defaultdict
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
    names = Counter(run.record.folder.resolve().name for run in runs)
    probes: dict[str, list[tuple[Path, PageRun]]] = defaultdict(list)  # by their network's folder
    for probe in runs:
        config = probe.record.config
        path = Path(str(config.get(_NETWORK) or ""))
        linear = path.name == LAST and not config.get("finetune")
        if linear and probe.record.state() == "completed":
            for name in {path.parent.name, path.resolve().parent.name}:
                probes[name].append((path, probe))
    found = []
    for run in own:
        folder = run.record.folder.resolve()
        # A run that was moved keeps its name, which no other has unless it was given by hand.
        alone = names[folder.name] == 1
        its = [
            probe
            for path, probe in probes[folder.name]
            if (alone and path.parent.name == folder.name) or path.resolve().parent == folder
            if _is_later(probe, run)
        ]
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


def _is_later(probe: PageRun, run: PageRun) -> bool:
    began, ended = _moment(probe, "started", 0), _moment(run, "ended", -1)
    return began is None or ended is None or began >= ended


def _moment(run: PageRun, key: str, piece: int) -> datetime | None:
    """None where the record does not tell, or not of which time zone."""
    try:
        found: Any = datetime.fromisoformat(run.record.result["pieces"][piece][key])
    except (LookupError, TypeError, ValueError):
        return None
    return found if found.tzinfo else None

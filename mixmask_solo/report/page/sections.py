# SPDX-License-Identifier: MIT
"""What a page says of each run in words and numbers: what it was, where the time went, on what."""

import shlex
from collections.abc import Mapping, Sequence
from datetime import datetime
from itertools import pairwise
from pathlib import PurePath
from typing import Any, NamedTuple

from mixmask_solo.report.page.data import PageRun, text

Facts = list[tuple[str, str]]


class Piece(NamedTuple):
    """One process that worked on a run; shares are of the longest piece's time."""

    title: str
    told: str
    training: float
    other: float


def duration(seconds: float) -> str:
    """``42 s``, ``3 min 20 s``, ``5 h 12 min``."""
    whole = round(seconds)
    if whole < 60:
        return f"{seconds:.3g} s" if seconds < 10 else f"{whole} s"
    if whole < 3600:
        return f"{whole // 60} min {whole % 60} s"
    return f"{whole // 3600} h {whole % 3600 // 60} min"


def summary(run: PageRun) -> str:
    """Method, network, images and length in a line."""
    config = run.record.config
    parts = [_method(config), _inner(config, "backbone", "name"), _inner(config, "data", "dataset")]
    unit, told = run.record.length
    return " · ".join([*(part for part in parts if part), f"{told} {unit}"])


def blocks(run: PageRun) -> dict[str, Facts]:
    """Each strategy's block with its values; none of a network that was pretrained so."""
    kwargs = run.record.config.get("method_kwargs") or {} if run.record.kind == "pretrain" else {}
    return {
        name: [(key, text(value)) for key, value in block.items() if value is not None]
        for name, block in kwargs.items()
        if isinstance(block, Mapping)
    }


def setup(run: PageRun) -> Facts:
    """What was trained, and by which recipe."""
    config, result = run.record.config, run.record.result
    source = result.get("provenance") or {}
    optimizer, data = config.get("optimizer") or {}, result.get("data") or {}
    kwargs = config.get("method_kwargs") or {}
    own = {k: v for k, v in kwargs.items() if not isinstance(v, Mapping) and v is not None}
    parts = ("train", "holdout", "val")
    images = {part: data[part].get("images") for part in parts if data.get(part)}
    counted = ", ".join(f"{n:,} {part}" for part, n in images.items() if isinstance(n, int))
    facts = [
        ("method", _method(config)),
        ("its options", ", ".join(f"{k} {text(v)}" for k, v in own.items())),
        ("of the run", str(config.get("pretrained_feature_extractor") or "")),
        ("network", _inner(config, "backbone", "name")),
        ("data", " · ".join(filter(None, [_inner(config, "data", "dataset"), counted]))),
        run.record.length,
        ("batch", _batch(run)),
        ("optimizer", _optimizer(optimizer, config.get("scheduler") or {})),
        ("learning rate", _rates(result.get("learning_rates") or {})),
        ("precision", text(config.get("precision"))),
        ("seed", text(run.seed)),
        ("recipe", _recipe(str(source.get("command", "")))),
        ("overrides", " ".join(source.get("overrides") or []) or "none"),
    ]
    return [(key, value) for key, value in facts if value]


def environment(run: PageRun) -> Facts:
    """Code, machine, versions, command."""
    result = run.record.result
    source, versions = result.get("provenance") or {}, dict(result.get("versions") or {})
    commit = source.get("commit")
    code = f"{commit[:12]}, {_state(source.get('dirty'))}" if commit else "no checkout"
    devices = text(run.record.config.get("devices"))
    facts = [
        ("started", _date(source.get("date"))),
        ("last heard of", _date(result.get("heartbeat"))),
        ("machine", str(source.get("machine") or "")),
        ("device", str(versions.pop("device", ""))),
        ("processes", f"{result.get('processes', '')} (devices {devices})"),
        ("host", {"builtin": "built-in", "solo": "solo-learn"}.get(str(result.get("host")), "")),
        ("commit", code),
        ("versions", ", ".join(f"{name} {version}" for name, version in versions.items())),
        ("run", f"{result.get('id', '')} in {run.record.name}"),
        ("command", str(source.get("command", ""))),
    ]
    return [(key, value) for key, value in facts if value]


def pieces(runs: Sequence[PageRun]) -> list[Piece]:
    """Where the time went: a piece an entry, all that is no training taken together."""
    found = [(run, number, piece) for run in runs for number, piece in _numbered(run)]
    longest = max((_seconds(piece, "wall") for *_, piece in found), default=0.0) or 1.0
    told = []
    for run, number, piece in found:
        wall, train = _seconds(piece, "wall"), _seconds(piece, "train")
        images = int(piece.get("images") or 0)
        words = [
            f"{int(piece.get('steps') or 0):,} steps",
            f"{images:,} images",
            f"{images / train:,.0f} images/s" if train else "no step",
            f"training {duration(train)}",
            f"all else {duration(max(wall - train, 0))}",
        ]
        which = f"{run.name}, seed {text(run.seed)}: " if len(runs) > 1 else ""
        title = f"{which}{number}. {piece.get('status', '')}, {_date(piece.get('started'))}"
        training = min(train, wall) / longest
        told.append(Piece(title, " · ".join(words), training, max(wall / longest - training, 0)))
    return told


def _numbered(run: PageRun) -> list[tuple[int, Mapping[str, Any]]]:
    return list(enumerate(run.record.result.get("pieces") or [], start=1))


def _seconds(piece: Mapping[str, Any], kind: str) -> float:
    return float(piece.get(f"{kind}_seconds") or 0)


def time_facts(run: PageRun) -> Facts:
    """Totals over all pieces, repeated work included."""
    result = run.record.result
    found = result.get("pieces") or []
    train = sum(float(piece.get("train_seconds") or 0) for piece in found)
    resumed = len(found) - 1
    facts = [
        ("throughput", f"{result.get('images_per_second') or 0:,.0f} images/s"),
        ("wall", duration(float(result.get("wall_seconds") or 0))),
        ("training", duration(train)),
        ("steps", f"{result.get('steps') or 0:,}"),
        ("resumed", {0: "never", 1: "once"}.get(resumed, f"{resumed} times") if found else ""),
    ]
    return [(key, value) for key, value in facts if value]


def _method(config: Mapping[str, Any]) -> str:
    if "detector" in config:
        return f"detection ({config['detector'].get('name')})"
    if "method" in config or not config.get("finetune"):
        return str(config.get("method") or "linear probe")
    scratch = config.get("pretrained_feature_extractor") is None
    return "training from scratch" if scratch else "fine-tuning"


def _batch(run: PageRun) -> str:
    config, result = run.record.config, run.record.result
    size, processes = _inner(config, "optimizer", "batch_size"), result.get("processes") or 1
    steps = config.get("accumulate_grad_batches") or 1
    parts = [(processes, "processes"), (steps, "batches accumulated")]
    told = "".join(f" × {n} {what}" for n, what in parts if n != 1)
    return f"{size}{told}" if size else ""


def _optimizer(optimizer: Mapping[str, Any], scheduler: Mapping[str, Any]) -> str:
    parts = [
        text(optimizer.get("name")),
        f"weight decay {text(optimizer.get('weight_decay'))}",
        text(scheduler.get("name")),
    ]
    warm = scheduler.get("warmup_epochs")
    if warm and "warmup" in str(scheduler.get("name")):  # others do not read it
        parts.append(f"{text(warm)} epoch{'s' * (warm != 1)} of warm-up")
    return ", ".join(parts)


def _rates(rates: Mapping[str, float]) -> str:
    """After batch, processes and accumulation; groups of one rate together."""
    by_rate: dict[float, list[str]] = {}
    for name, rate in rates.items():
        by_rate.setdefault(rate, []).append(name)
    return "; ".join(f"{rate:.6g} ({', '.join(names)})" for rate, names in by_rate.items())


def _recipe(command: str) -> str:
    """Folder and file of the configuration, out of the command."""
    try:
        words = shlex.split(command.replace("=", " "))
    except ValueError:
        return ""
    after = dict(pairwise(words))
    folder = after.get("--config-path") or after.get("-cp") or ""
    name = after.get("--config-name") or after.get("-cn") or ""
    parts = PurePath(folder).parts
    inside = parts[parts.index("scripts") :] if "scripts" in parts else parts
    return str(PurePath(*inside, name)) if name else ""


def _inner(config: Mapping[str, Any], block: str, key: str) -> str:
    found = config.get(block)
    value = found.get(key) if isinstance(found, Mapping) else None
    return "" if value is None else text(value)


def _state(dirty: object) -> str:
    """Of the files under version control; None where git did not say."""
    if dirty is None:
        return "whether with changes is not known"
    return "with changes that are not committed" if dirty else "clean"


def _date(written: object) -> str:
    try:
        return f"{datetime.fromisoformat(str(written)):%Y-%m-%d %H:%M} UTC"
    except ValueError:
        return ""

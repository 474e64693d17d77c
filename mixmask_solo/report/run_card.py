# SPDX-License-Identifier: MIT
"""All about one run, and what two runs differ in."""

from collections.abc import Iterator, Mapping, Sequence
from typing import Any

from rich.filesize import decimal

from mixmask_solo.config.free import FREE, under
from mixmask_solo.records.registry.prune import checkpoints
from mixmask_solo.records.registry.record import RunRecord
from mixmask_solo.records.registry.row import leaves
from mixmask_solo.report import columns
from mixmask_solo.report.heads_table import chosen_head, heads_table, of_one_head
from mixmask_solo.report.runs_table import age, text

_ABSENT = "-"


def card(run: RunRecord) -> str:
    """State, provenance, settings, metrics, time, pieces and checkpoints; epochs from 1."""
    parts = [
        columns([(name, value) for name, value in _facts(run) if value]),
        _metrics(run.result),
        heads_table(run.result),
        _pieces(run.result),
        _damaged(run.result),
    ]
    return "\n\n".join(part for part in parts if part)


def saved(run: RunRecord) -> list[dict[str, Any]]:
    """Its checkpoints on disk."""
    return [{"file": p.name, "bytes": p.stat().st_size} for p in checkpoints(run.folder)]


def differing(a: RunRecord, b: RunRecord, *, everything: bool) -> list[tuple[str, Any, Any]]:
    """The keys of the resolved configurations that differ, as they are stored; null and absent
    are the same. Those without effect on what is trained are left out but for ``everything``."""
    one, two = dict(leaves(a.config)), dict(leaves(b.config))
    names = [*one, *(name for name in two if name not in one)]
    return [
        (name, one.get(name), two.get(name))
        for name in names
        if one.get(name) != two.get(name) and (everything or not under(name, FREE))
    ]


def measured(run: RunRecord) -> dict[str, Any]:
    """Metrics of the last epoch that has them, and the k-NN in evaluation mode."""
    earlier = run.result.get("earlier_metrics") or {}
    found = {name: told.get("value") for name, told in earlier.items()}
    knn = run.result.get("knn") or {}
    told = {f"knn.{name}": knn[name] for name in ("acc1", "acc5") if name in knn}
    return {**found, **(run.result.get("metrics") or {}), **told}


def comparison(a: RunRecord, b: RunRecord, *, everything: bool) -> str:
    """Two runs side by side: settings that differ, then metrics."""
    settings = differing(a, b, everything=everything)
    one, two = measured(a), measured(b)
    names = [*one, *(name for name in two if name not in one)]
    lines = [("", "A", "B")]
    lines += [(key, text("", x), text("", y)) for key, x, y in settings]
    metrics = [("", "A", "B", "B - A")]
    metrics += [
        (name, text(name, one.get(name)), text(name, two.get(name)), _change(name, one, two))
        for name in names
    ]
    head = columns([("A", a.state(), str(a.folder)), ("B", b.state(), str(b.folder))])
    same = "the configurations do not differ in what has an effect (--all: every key)"
    body = columns(lines) if settings else same
    return "\n\n".join([head, body, columns(metrics, right=(1, 2, 3))])


def _change(name: str, one: Mapping[str, Any], two: Mapping[str, Any]) -> str:
    a, b = one.get(name), two.get(name)
    return text(name, float(b - a)) if isinstance(a, float) and isinstance(b, float) else _ABSENT


def _facts(run: RunRecord) -> Iterator[tuple[str, str]]:
    result, config = run.result, run.config
    told = result.get("provenance") or {}
    yield "run", str(run.folder)
    yield "state", run.state()
    yield "error", str(result.get("error") or "").partition("\n")[0]
    yield "collapse", run.collapse
    yield run.length
    yield "command", str(told.get("command") or "")
    dirty = {True: " with changes", None: ", whether with changes is not known"}.get(
        told.get("dirty"), ""
    )
    yield "commit", f"{told['commit']}{dirty}" if told.get("commit") else ""
    yield "date", str(told.get("date") or "")
    versions = result.get("versions") or {}
    device = f", {versions['device']}" if versions.get("device") else ""
    yield "machine", f"{told['machine']}{device}" if told.get("machine") else ""
    yield "method", str(config.get("method") or run.kind)
    for name, block in (config.get("method_kwargs") or {}).items():
        if isinstance(block, Mapping):
            yield name, _inline(block)
    yield "chosen", chosen_head(result)
    yield "overrides", " ".join(told.get("overrides") or [])
    seconds = result.get("wall_seconds")
    yield "time", f"{seconds:,.0f} s ({age(seconds)})" if seconds else ""
    speed = result.get("images_per_second")
    yield "images/s", f"{speed:,.0f}" if speed else ""
    for file in saved(run):
        yield "checkpoint", f"{file['file']} ({decimal(file['bytes'])})"


def _inline(block: Mapping[str, Any]) -> str:
    return ", ".join(f"{k} {text('', v)}" for k, v in leaves(block) if v is not None)


def _metrics(result: Mapping[str, Any]) -> str:
    last, best = result.get("metrics") or {}, result.get("best_metrics") or {}
    earlier = result.get("earlier_metrics") or {}
    number = result.get("metrics_epoch")
    told = {name: {"value": value, "epoch": number} for name, value in last.items()}
    lines = [("", "last", "epoch", "best", "epoch")]
    for name, one in {**told, **earlier}.items():
        if of_one_head(name):  # they have a table of their own
            continue
        top = best.get(name) or {}
        lines.append((name, *_at_epoch(name, one), *(_at_epoch(name, top) if top else ("", ""))))
    knn = result.get("knn") or {}
    if knn:
        how = f"k-NN of the last checkpoint ({knn.get('features')}, k {knn.get('k')})"
        lines.append((how, text("knn", knn.get("acc1")), "", "", ""))
    return columns(lines, right=(1, 2, 3, 4)) if len(lines) > 1 else ""


def _at_epoch(name: str, told: Mapping[str, Any]) -> tuple[str, str]:
    epoch = told.get("epoch")
    return text(name, told.get("value")), str(epoch + 1) if isinstance(epoch, int) else ""


def _pieces(result: Mapping[str, Any]) -> str:
    pieces: Sequence[Mapping[str, Any]] = result.get("pieces") or []
    if len(pieces) < 2:
        return ""
    lines: list[tuple[str, ...]] = [("piece", "started", "status", "steps", "seconds")]
    for i, piece in enumerate(pieces, start=1):
        cells = (piece.get(key) for key in ("started", "status", "steps", "wall_seconds"))
        lines.append((str(i), *(text("", cell) for cell in cells)))
    return columns(lines, right=(3, 4))


def _damaged(result: Mapping[str, Any]) -> str:
    count = result.get("data_errors")
    lines = [f"{count} damaged images", *result.get("damaged_images", [])]
    return "\n".join(lines) if count else ""

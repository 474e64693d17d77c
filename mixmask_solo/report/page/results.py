# SPDX-License-Identifier: MIT
"""The numbers that count: k-NN, classifiers, best epochs; of repetitions mean and deviation."""

from collections.abc import Sequence
from statistics import fmean, stdev
from typing import Any, NamedTuple

from mixmask_solo.config import listing
from mixmask_solo.report.heads_table import chosen_head
from mixmask_solo.report.page.data import Group, PageRun, text
from mixmask_solo.report.page.probes import probes_of, unlike


class Number(NamedTuple):
    """One result of a group, and which of the numbers it is."""

    name: str
    value: str
    unit: str
    what: str  # is measured
    detail: str = ""  # of this group
    raw: float = 0.0


class PaperCell(NamedTuple):
    """A number of the paper beside ours; ``ours`` is None where there is none yet."""

    name: str
    metric: str
    paper: float | None
    ours: float | None
    std: float | None
    n: int
    source: str = ""


class Table(NamedTuple):
    """Any table: a section of its own."""

    title: str
    header: Sequence[str]
    rows: Sequence[Sequence[str]]
    notes: Sequence[str] = ()


_KNN = "k-NN"
_PROBE = "linear probe"
_PROBED = "linear classifier on the frozen network of the last checkpoint"
_AP = "mean over IoU 0.50 to 0.95, on validation images"
_MEASURED = {  # metric: name, what it is
    "val_knn_acc1": (
        "online k-NN",
        "features of augmented views, taken while the network changed; lags behind early on",
    ),
    "val_acc1": ("online classifier", "trained beside the network, on validation images"),
    "val_box_ap": ("box AP", _AP),
    "val_mask_ap": ("mask AP", _AP),
    "val_voc_ap": ("VOC AP", _AP),
}


def numbers(group: Group, runs: Sequence[PageRun] = ()) -> list[Number]:
    """What a group reached. ``runs`` are all of the page: a probe of one of the group's counts."""
    found = [_knn(group), _probe(group, runs)]
    for metric, (name, note) in _MEASURED.items():
        kind = group.runs[0].record.kind
        if kind != "pretrain" and metric == "val_acc1":
            name = "fine-tuned accuracy" if kind == "finetune" else "linear accuracy"
            note = "top-1 on validation images"
            chosen = chosen_head(group.runs[0].record.result)
            note += f" ({chosen})" if chosen and len(group.runs) == 1 else ""
        found.append(_online(group, metric, name, note))
    spread = _metric(group, "train_embedding_std")
    if spread:
        value = fmean(x["value"] for x in spread)
        note = "of unit-length projections over the batch; 0 is collapse"
        found.append(Number("embedding std", f"{value:.4f}", "", note, raw=value))
    ranks = [x["value"] for x in _metric(group, "train_embedding_rank")]
    if ranks:
        note = "RankMe of training views' projections; 1 is collapse"
        found.append(Number("embedding rank", f"{fmean(ranks):.1f}", "", note, raw=fmean(ranks)))
    return [number for number in found if number is not None]


def _knn(group: Group) -> Number | None:
    found = [run.record.result["knn"] for run in group.runs if run.record.result.get("knn")]
    if not found:
        return None
    first = found[0]
    how = f"k = {text(first.get('k'))}, {first.get('distance')}, {first.get('features')} features"
    note = f"evaluation mode: last checkpoint, un-augmented images ({how})"
    return _number(_KNN, [float(knn["acc1"]) for knn in found], note)


def _probe(group: Group, runs: Sequence[PageRun]) -> Number | None:
    """Of probes on the page, one for each of the group's runs that has one."""
    probes = [p for p in probes_of(group.runs, runs) if measured_in(p, "val_acc1")]
    if not probes:
        return None
    if keys := unlike(probes):
        told = f"no mean: the probes of {len(probes)} runs differ in {listing(keys, 'and')}"
        return Number(_PROBE, "–", "", _PROBED, told)
    return _number(_PROBE, [measured_in(p, "val_acc1")["value"] for p in probes], _PROBED)


def _online(group: Group, metric: str, name: str, note: str) -> Number | None:
    found = _metric(group, metric)
    if not found:
        return None
    best = [(run.record.result.get("best_metrics") or {}).get(metric) for run in group.runs]
    when = group.runs[0].record.when
    told = [f"best {float(b['value']):.2f} % in {when(int(b['epoch']))}" for b in best if b]
    told = told or [f"of {when(found[0]['epoch'])}"]
    limits = {str(run.record.config.get("limit_val_batches")) for run in group.runs}
    parts = sorted(limits - {"None", "1.0"})  # a share of all is all, one batch is not
    told += [f"of a part of the images: limit_val_batches {part}" for part in parts]
    return _number(name, [x["value"] for x in found], note, "; ".join(told))


def _metric(group: Group, name: str) -> list[dict[str, Any]]:
    return [found for run in group.runs if (found := measured_in(run, name))]


def measured_in(run: PageRun, name: str) -> dict[str, Any]:
    """``value`` and ``epoch`` (from 0) of a metric where it was last measured, else nothing."""
    result = run.record.result
    now, earlier = result.get("metrics") or {}, result.get("earlier_metrics") or {}
    if name in now:
        return {"value": float(now[name]), "epoch": int(result.get("metrics_epoch") or 0)}
    return dict(earlier.get(name) or {})


def _number(name: str, values: Sequence[float], what: str, detail: str = "") -> Number:
    value = fmean(values)
    if len(values) == 1:
        return Number(name, f"{value:.2f}", "%", what, detail, value)
    several = f"mean ± sample std of {len(values)} runs"
    told = f"{several}; {detail}" if detail else several
    return Number(name, f"{value:.2f} ± {stdev(values):.2f}", "%", what, told, value)


def comparison(found: Sequence[Group], runs: Sequence[PageRun]) -> Table:
    """A row a group, the results in columns."""
    of_each = [{n.name: n for n in numbers(group, runs)} for group in found]
    names = list(dict.fromkeys(name for one in of_each for name in one))
    rows = []
    for group, one in zip(found, of_each, strict=True):
        cells = [f"{one[n].value} {one[n].unit}".strip() if n in one else "–" for n in names]
        lengths = ", ".join(dict.fromkeys(_length(run) for run in group.runs))
        states = ", ".join(dict.fromkeys(run.record.state() for run in group.runs))
        rows.append([group.label, *cells, group.seeds.partition(" ")[2], lengths, states])
    notes = [f"{name}: {what}." for name, what in _what(of_each).items()]
    if any(number.unit for one in of_each for number in one.values()):
        several = any(len(group.runs) > 1 for group in found)
        told = "Of several seeds: mean ± sample standard deviation. " if several else ""
        notes.insert(0, f"{told}Bold: the highest, however small the difference.")
    return Table("", ["run", *names, "seed", "length", "state"], rows, notes)


def _length(run: PageRun) -> str:
    unit, told = run.record.length
    return f"{told.partition(' ')[0]} {unit}"


def _what(of_each: Sequence[dict[str, Number]]) -> dict[str, str]:
    return {number.name: number.what for one in of_each for number in one.values()}


def best_cells(
    table: Table, found: Sequence[Group], runs: Sequence[PageRun]
) -> set[tuple[int, int]]:
    """Row and column of the highest value of each accuracy, where there are several."""
    of_each = [{n.name: n for n in numbers(group, runs)} for group in found]
    marked = set()
    for column, name in enumerate(table.header):
        values = {
            row: one[name].raw for row, one in enumerate(of_each) if name in one and one[name].unit
        }
        if len(set(values.values())) > 1:
            top = max(values.values())
            marked |= {(row, column) for row, value in values.items() if value == top}
    return marked

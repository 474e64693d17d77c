# SPDX-License-Identifier: MIT
"""Writes a network for a target, has it loaded there, and keeps the files if the outputs agree."""

import os
import shutil
import tempfile
import time
from collections.abc import Mapping
from pathlib import Path
from typing import Any, NamedTuple

import torch

from mixmask_solo.config import ConfigError, listing, require_known
from mixmask_solo.config.files import write_json
from mixmask_solo.export import TARGETS, WHICH
from mixmask_solo.export.source import Outputs, Source, read_source
from mixmask_solo.export.target import Loaded, Target
from mixmask_solo.export.targets import BY_NAME
from mixmask_solo.export.targets.onnx import Onnx
from mixmask_solo.records.checkpoints import checksum
from mixmask_solo.records.exported import OF_FILE
from mixmask_solo.records.pretrained import find_checkpoint

TOLERANCE = 1e-5  # of the largest value
_UNFINISHED = ".export-"  # what folders of files that nobody has loaded yet begin with
_LONGEST = 3600.0  # seconds that an export may take


class ExportError(RuntimeError):
    """What was written is not what was there; nothing of it is kept."""


class Exported(NamedTuple):
    """What was done.

    Attributes:
        files: the target's own file first.
        difference: largest one of all outputs, relative to each output's largest value.
        lines: Python that loads the file.
        loaded: by what, see :class:`Loaded`.
    """

    source: Source
    files: list[Path]
    difference: float
    lines: list[str]
    loaded: Loaded


def export(
    checkpoint: str | Path,
    to: str,
    which: str = "online",
    *,
    out: str | Path | None = None,
    force: bool = False,
    backbone: Mapping[str, Any] | None = None,
    size: int | None = None,
    filtered: bool = True,
) -> Exported:
    """Writes the network of a checkpoint as ``to`` reads it; see docs/transfer.md.

    Args:
        checkpoint: anything a probe reads: a file, or the folder of a run.
        to: one of ``TARGETS``.
        which: ``online``, ``momentum``, or ``head``, the online backbone with its projector.
        out: file; by default beside the checkpoint.
        force: whether files that are there are replaced.
        backbone, size: see :func:`read_source`.
        filtered: whether the input filter goes into the graph (``onnx``).

    Raises:
        ConfigError: for what the user has to change; nothing is written.
        ExportError: where the outputs differ by more than 1e-5; nothing is kept.
    """
    require_known("to", to, TARGETS)
    require_known("which", which, WHICH)
    target = Onnx(filtered=filtered) if to == "onnx" else BY_NAME[to]()
    if not filtered and to != "onnx":
        raise ConfigError(f"no_filter is for onnx: {to} holds weights, no filter; leave it out")
    if which == "head" and not target.head:
        able = listing(name for name in TARGETS if BY_NAME[name].head)
        raise ConfigError(f"which is head: {to} has no room for a projector; choose {able}")
    place = _place(checkpoint, to, which, target, out)
    source = read_source(checkpoint, which, backbone=backbone, size=size)
    target.refuse(source)
    names = [place.name, *target.files(source), *([f"{place.name}.json"] if target.beside else [])]
    places = [place.with_name(name) for name in names]
    for there in places:
        if there.exists() and there.samefile(source.pretrained.path):
            raise ConfigError(f"out: '{there}' is the checkpoint itself: give another file")
        if there.exists() and not (force and there.is_file()):
            raise ConfigError(f"out: '{there}' exists: --force replaces files, or give another")
    try:
        ours = source.outputs(target.images(source))
    except (RuntimeError, ValueError) as error:
        raise ConfigError(
            f"size is {source.size}: {source.name}, or its input filter, takes no images of that "
            f"size ({error})"
        ) from error
    place.parent.mkdir(parents=True, exist_ok=True)
    _remove_left_over(place.parent)
    with tempfile.TemporaryDirectory(prefix=_UNFINISHED, dir=place.parent) as folder:
        path = Path(folder, place.name)
        target.write(source, path, place)
        difference, loaded = _compare(ours, source, target, path)
        if target.beside:
            write_json(Path(f"{path}.json"), {**source.facts, OF_FILE: f"{checksum(path):08x}"})
        for there in reversed(places):  # the file itself last: where it is, all are
            os.replace(path.with_name(there.name), there)
    return Exported(source, places, difference, target.lines(source, place), loaded)


def _place(
    checkpoint: str | Path, to: str, which: str, target: Target, out: str | Path | None
) -> Path:
    file = find_checkpoint(checkpoint)
    of = "" if which == "online" else f".{which}"
    usual = f"{file.stem}{of}{target.suffix}" if target.suffix else "encoder.pth"
    if out is None:
        return file.with_name(usual)
    place = Path(out).expanduser()
    if place.is_dir():
        raise ConfigError(f"out is '{out}', a folder: give a file, e.g. {place / usual}")
    if not target.suffix and place.name != "encoder.pth":
        raise ConfigError(f"out is '{out}': {to} looks for encoder.pth in a folder, call it that")
    if target.ends and place.suffix not in target.ends:
        raise ConfigError(f"out is '{out}': {to} reads files that end in {listing(target.ends)}")
    return place


def _remove_left_over(folder: Path) -> None:
    """What exports that were killed have left there; one that is at work is younger."""
    for left in folder.glob(f"{_UNFINISHED}*"):
        if left.is_dir() and time.time() - left.stat().st_mtime > _LONGEST:
            shutil.rmtree(left, ignore_errors=True)


@torch.no_grad()
def _compare(ours: Outputs, source: Source, target: Target, path: Path) -> tuple[float, Loaded]:
    try:
        loaded = target.load(source, path, source.images)
    except (ImportError, RuntimeError, TypeError, KeyError, ValueError) as error:
        reason = " ".join(str(error).split())
        raise ExportError(
            f"what was written cannot be loaded: {reason}; nothing is kept"
        ) from error
    found = [_difference(ours, loaded.outputs, name) for name in ours]
    worst = max(found)
    if not all(difference <= TOLERANCE for difference in found):  # of NaN nothing is
        raise ExportError(
            f"{loaded.by} makes other features of the file than the checkpoint's network: they "
            f"differ by {worst:.2g} of the largest, more than {TOLERANCE:g}; nothing is kept"
        )
    return worst, loaded


def _difference(ours: Outputs, theirs: Outputs, name: str) -> float:
    if ours[name].shape != theirs[name].shape:
        return float("inf")
    scale = ours[name].abs().max().clamp_min(torch.finfo(torch.float32).tiny)
    return float((ours[name] - theirs[name]).abs().max() / scale)

# SPDX-License-Identifier: MIT
"""A checkpoint as the evaluations see it: where it lies, its weights, how its network was made."""

from collections.abc import Mapping
from pathlib import Path
from typing import Any, NamedTuple

from torch import Tensor

from mixmask_solo.config import ConfigError
from mixmask_solo.records.checkpoints import (
    FILTERS,
    LAST,
    META,
    read_checkpoint,
    stored_config,
)
from mixmask_solo.records.exported import exported_facts
from mixmask_solo.records.layout import Layout, backbone_layout, plain_names

_OTHERS = {  # what a file holds that lacks a network, and what to evaluate then
    "online": ("a momentum network only", "momentum"),
    "momentum": ("no momentum network", "online"),
}
START = "pretrained_feature_extractor"  # key of whatever starts from a checkpoint
_NO_NETWORK = {
    "a detector's": {"detector"},
    "a linear probe's": {"classifier", "classifiers"},
}
_VIEW = ("crop_size", "mean", "std")  # what a network expects of its images


class Pretrained(NamedTuple):
    """What a checkpoint holds."""

    path: Path
    config: dict[str, Any]  # resolved, of its run; empty where nothing tells it
    state: dict[str, Tensor]
    evaluate: str = "online"  # or "momentum": whose weights are meant
    arch: str | None = None  # the network's name, where published code stored it so
    filters: list[str] | None = None  # strategies that filter inputs; None where not told
    run: str | None = None  # id of the run that wrote it, where it tells one
    exported: Mapping[str, Any] = {}  # facts of an export of ours; empty for other files

    @property
    def method(self) -> str:
        """Name of the method that trained it, ``None`` where nothing tells it."""
        return str(self.config.get("method"))

    @property
    def whose(self) -> str:
        """``online`` or ``momentum``: the network that is meant, whatever the file calls it."""
        return "momentum" if self.exported.get("which") == "momentum" else self.evaluate

    @property
    def data(self) -> dict[str, Any]:
        """Block of that name it was trained with."""
        return self.config.get("data") or {}

    @property
    def view(self) -> dict[str, Any]:
        """Size and statistics of the images it was trained with, as far as given there: those of a
        pretraining's first view, or of a fine-tuning's images."""
        views = self.config.get("augmentations") or []
        first = views[0] if isinstance(views, list) and views else {}
        first = first or self.data.get("augmentations") or {}
        return {k: first[k] for k in _VIEW if first.get(k) is not None}

    @property
    def layout(self) -> Layout:
        """The backbone that is meant; raises ConfigError when only the other network is there."""
        found = backbone_layout(self.state, self.evaluate)
        if found is None:
            has, other = _OTHERS[self.evaluate]
            raise ConfigError(f"checkpoint '{self.path}' holds {has}: set evaluate={other}")
        return found

    @property
    def told(self) -> dict[str, Any]:
        """Keys of a ``backbone`` block that the file itself tells: name, stem, stem_padding."""
        name, layout = {"name": self.arch} if self.arch else {}, self.layout
        if layout.layer1 in (2, 3):  # a row without a place for max pooling, be it left empty
            return {**name, "stem": "cifar", "stem_padding": 1}
        first = self.state.get(layout.names.get("conv1.weight", ""))
        large = first is not None and first.dim() == 4 and first.shape[-1] == 7
        return {**name, "stem": "imagenet"} if large else name


def find_checkpoint(path: str | Path) -> Path:
    """The file itself, or for a run's folder its ``last.ckpt``, else the newest ``*.ckpt``.

    Raises ConfigError for a folder without a checkpoint.
    """
    path = Path(path).expanduser()
    if not path.is_dir():
        return path
    if (path / LAST).is_file():
        return path / LAST
    found = sorted(path.glob("*.ckpt"), key=lambda file: (file.stat().st_mtime, file.name))
    if not found:
        raise ConfigError(
            f"folder '{path}' holds no *.ckpt: give the folder of one run, or a checkpoint file"
        )
    return found[-1]


def read_pretrained(path: str | Path, evaluate: str = "online") -> Pretrained:
    """Reads a checkpoint of this package, solo-learn, other code, or mere weights.

    ``path`` is the file or the folder of a run; raises ConfigError when there is none, it cannot
    be read, or it lacks the network to ``evaluate``.
    """
    if evaluate not in _OTHERS:
        raise ConfigError(f"evaluate is {evaluate!r}: choose online or momentum")
    file = find_checkpoint(path)
    content = read_checkpoint(file, plain_weights=True)
    arch = content["arch"] if isinstance(content.get("arch"), str) else None
    told, facts = content.get(META) or {}, exported_facts(content, file)
    filters, run = told.get(FILTERS), told.get("id") or facts.get("run")
    if facts and META not in content:
        config = _exported_config(facts)  # whatever run's args.json it may lie beside
        filters = list(facts["filter_blocks"])
    else:
        config = stored_config(content, file) or {}
    found = Pretrained(file, config, content["state_dict"], evaluate, arch, filters, run, facts)
    _refuse_others(found)
    _ = found.layout  # refused here, where the file is named
    return found


def _refuse_others(found: Pretrained) -> None:
    """Files that hold no pretrained network by their tensors: detectors', probes' classifiers.

    Those of solo-learn's probes hold their frozen backbone, too.
    """
    parts = {name.partition(".")[0] for name in plain_names(found.state)}
    what = next((what for what, names in _NO_NETWORK.items() if parts and parts <= names), None)
    if what is not None:
        start = found.config.get(START)
        remedy = f"what it was made from, '{start}'" if start else "a pretrained network's"
        raise ConfigError(f"checkpoint '{found.path}' is {what}: give {remedy}")


def _exported_config(facts: dict[str, Any]) -> dict[str, Any]:
    """Those parts of a configuration that an export of ours tells of its network."""
    seen = {key: facts[key] for key in _VIEW if facts.get(key) is not None}
    data = {"dataset": facts["dataset"]} if facts.get("dataset") else {}
    seed = {"seed": facts["seed"]} if isinstance(facts.get("seed"), int) else {}
    return {
        "backbone": facts["backbone"],
        "method_kwargs": facts["filter_blocks"],
        "data": {**data, "augmentations": seen},
        **seed,
    }

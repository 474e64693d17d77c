# SPDX-License-Identifier: MIT
"""A checkpoint as the evaluations see it: where it lies, its weights, how its network was made.

Whose it is tell the names of its tensors, wrappers' parts apart: pairs of an online and a momentum
network (see ``_PAIRS``) are known, and a network alone. A backbone is a torchvision or timm network
by its own names, or a ResNet whose children stand in an ``nn.Sequential``, a row by numbers.
"""

from collections.abc import Iterable
from pathlib import Path
from typing import Any, NamedTuple

from torch import Tensor

from mixmask_solo.config import ConfigError
from mixmask_solo.config.files import read_json
from mixmask_solo.records.checkpoints import (
    FACTS,
    FILTERS,
    LAST,
    META,
    read_checkpoint,
    stored_config,
)

# Online and momentum network. lightly's older benchmarks call the momentum network `backbone`.
_PAIRS = (
    ("student_backbone.", "teacher_backbone."),  # lightly's DINO
    ("student_backbone.", "backbone."),
    ("query_backbone.", "backbone."),
    ("backbone.", "momentum_backbone."),  # ours, solo-learn
    ("backbone.", "backbone_momentum."),  # lightly
    ("backbone.", "teacher_backbone."),
    ("backbone.", "key_backbone."),
    ("encoder_q.", "encoder_k."),  # MoCo, Un-Mix, MixMask
    ("base_encoder.", "momentum_encoder."),  # MoCo v3
    ("encoder.", "momentum_encoder."),  # solo-learn of 2021
    ("student.backbone.", "teacher.backbone."),  # DINO
    ("student.", "teacher."),
)
_EITHER = "backbone."  # alone it is an online network
_SOLO = ("backbone.", "momentum_backbone.", "encoder.", "")
_WRAPPERS = ("module", "_orig_mod")  # of DistributedDataParallel, torch.compile
_NET = "net."  # the published CIFAR demos call the row so
_OTHERS = {  # what a file holds that lacks a network, and what to evaluate then
    "online": ("a momentum network only", "momentum"),
    "momentum": ("no momentum network", "online"),
}
_VIEW = ("crop_size", "mean", "std")  # what a network expects of its images


class Layout(NamedTuple):
    """A backbone in a file: its names of the tensors by the network's own.

    Attributes:
        prefix: what the file's start with, wrappers apart; ``""`` where the file is the network.
        layer1: position of the first layer in a row, None where children have names: 4 behind
            convolution, norm, ReLU and max pooling, 3 without the pooling, 2 without the ReLU too,
            as in lightly's own network for CIFAR, whose down-sampling is called ``shortcut``.
    """

    names: dict[str, str]
    prefix: str
    layer1: int | None

    @property
    def usual_padding(self) -> int:
        """Of a 3x3 stem, which leaves no trace in weights: solo-learn's 2, everybody else's 1."""
        return 2 if self.prefix in _SOLO and not self.layer1 else 1

    def __str__(self) -> str:
        """For error lines."""
        what = f"the names under '{self.prefix}'" if self.prefix else "names without a prefix"
        return f"{what}, a row of a ResNet's children" if self.layer1 else what


def backbone_layout(names: Iterable[str], evaluate: str = "online") -> Layout | None:
    """Where the backbone's tensors are; None where the file holds the other network only.

    Only names that *start* with a prefix count: ``momentum_backbone.`` is another network than
    ``backbone.``. Names that no rule knows stay, for the strict loading to stumble over.
    """
    plain = plain_names(names)
    prefix = _prefix(plain, evaluate)
    if prefix is None:
        return None
    inner = {k.removeprefix(prefix): name for k, name in plain.items() if k.startswith(prefix)}
    layer1 = _layer1(inner)
    own = {_name_in_row(k, layer1) if layer1 else k: name for k, name in inner.items()}
    return Layout(own, prefix, layer1)


def plain_names(names: Iterable[str]) -> dict[str, str]:
    """Names without the parts that wrappers put into them, and the names they come from."""
    plain: dict[str, str] = {}
    for name in names:
        short = ".".join(part for part in name.split(".") if part not in _WRAPPERS)
        plain[name if short in plain else short] = name
    return plain


def _prefix(names: Iterable[str], evaluate: str) -> str | None:
    there = {p for pair in _PAIRS for p in pair if any(name.startswith(p) for name in names)}
    side = 0 if evaluate == "online" else 1
    for pair in _PAIRS:
        if there.issuperset(pair):
            return pair[side]
    for pair in _PAIRS:
        if pair[side] in there and (side == 0 or pair[side] != _EITHER):
            return pair[side]
    return "" if side == 0 and not there else None


def _layer1(names: Iterable[str]) -> int | None:
    """Position of a row's first layer; None for names that are no numbers."""
    inner = [name.removeprefix(_NET) for name in names]
    if not all(name.partition(".")[0].isdecimal() for name in inner):
        return None
    first = min((int(name.partition(".")[0]) for name in inner if ".conv1." in name), default=0)
    return first if first in (2, 3, 4) else None


def _name_in_row(numbered: str, layer1: int) -> str:
    """torchvision's name; the numbered one again where there is none."""
    position, _, rest = numbered.removeprefix(_NET).partition(".")
    # Behind layer4 come pooling, flattening and the head.
    parts = {0: "conv1", 1: "bn1", layer1 + 6: "fc"}
    parts |= {layer1 + i: f"layer{i + 1}" for i in range(4)}
    if int(position) not in parts:
        return numbered
    if layer1 == 2:
        rest = rest.replace("shortcut.", "downsample.")
    return f"{parts[int(position)]}.{rest}"


class Pretrained(NamedTuple):
    """What a checkpoint holds."""

    path: Path
    config: dict[str, Any]  # resolved, of its run; empty where nothing tells it
    state: dict[str, Tensor]
    evaluate: str = "online"  # or "momentum": whose weights are meant
    arch: str | None = None  # the network's name, where published code stored it so
    filters: list[str] | None = None  # strategies that filter inputs; None where not told
    run: str | None = None  # id of the run that wrote it, where it tells one

    @property
    def method(self) -> str:
        """Name of the method that trained it, ``None`` where nothing tells it."""
        return str(self.config.get("method"))

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
    config = stored_config(content, file) or {}
    told = content.get(META) or {}
    filters, run = told.get(FILTERS), told.get("id")
    facts = content.get(FACTS) or read_json(Path(f"{file}.json"))  # where a format has no room
    if META not in content and isinstance(facts, dict) and "filter_blocks" in facts:  # an export
        filters = list(facts["filter_blocks"])
        seen = {key: facts[key] for key in _VIEW if facts.get(key) is not None}
        blocks = {"backbone": facts["backbone"], "method_kwargs": facts["filter_blocks"]}
        config = config or {**blocks, "data": {"augmentations": seen}}
    found = Pretrained(file, config, content["state_dict"], evaluate, arch, filters, run)
    _ = found.layout  # refused here, where the file is named
    return found

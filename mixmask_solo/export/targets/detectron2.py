# SPDX-License-Identifier: MIT
"""Detectron2: a pickle with the names and values of MoCo's and MixMask's converter, and
configurations that train on it.

Of a MoCo checkpoint that converter also takes the projector along, as ``stem.fc.``, which
Detectron2 does not know and leaves; here it stays out. ``num_batches_tracked`` is converted like
all others.
"""

import pickle
import re
from importlib.util import find_spec
from pathlib import Path
from typing import Any

import numpy as np
import torch
import torchvision
from torch import Tensor, nn

from mixmask_solo.export import recipe
from mixmask_solo.export.configs import configs, render
from mixmask_solo.export.source import Source
from mixmask_solo.export.target import Loaded, Target, library

_RULES = (
    (r"^(?!res)", "stem."),
    (r"\bbn(\d)\b", r"conv\1.norm"),
    (r"\bdownsample\.0\b", "shortcut"),
    (r"\bdownsample\.1\b", "shortcut.norm"),
)


class Detectron2(Target):
    """``model`` by Detectron2's names, NumPy arrays; ``matching_heuristics`` has it matched by the
    ends of names, so that ``res5`` finds its place in a C4 head as well as in a backbone."""

    suffix = ".detectron2.pkl"
    ends = (".pkl",)  # by which Detectron2 tells what to open it with
    beside = True

    def refuse(self, source: Source) -> None:
        recipe.plain_resnet(source, "detectron2")

    def files(self, source: Source) -> tuple[str, ...]:
        return configs(source)

    def write(self, source: Source, path: Path, place: Path) -> None:
        model = {name_there(k): tensor.numpy() for k, tensor in source.weights.items()}
        content = {"model": model, "__author__": "mixmask_solo", "matching_heuristics": True}
        with path.open("wb") as file:
            _Pickler(file, protocol=4).dump(content)
        for name in configs(source):
            (path.parent / name).write_text(render(name, source, place), "utf-8")

    def lines(self, source: Source, place: Path) -> list[str]:
        depth = source.name.removeprefix("resnet")
        basic = depth in ("18", "34")
        return [
            "from detectron2.checkpoint import DetectionCheckpointer",
            "from detectron2.config import get_cfg",
            "from detectron2.modeling import build_backbone",
            "cfg = get_cfg()",
            "cfg.MODEL.BACKBONE.FREEZE_AT = 0",
            f"cfg.MODEL.RESNETS.update(DEPTH={depth}, NORM='BN', STRIDE_IN_1X1=False)",
            "cfg.MODEL.RESNETS.OUT_FEATURES = ['res5']",
            *(["cfg.MODEL.RESNETS.RES2_OUT_CHANNELS = 64"] if basic else []),
            "model = build_backbone(cfg)",
            f"DetectionCheckpointer(model).load({str(place)!r})",
        ]

    def load(self, source: Source, path: Path, images: Tensor) -> Loaded:
        if find_spec("detectron2") is not None:
            with torch.no_grad():
                maps = recipe.run(self.lines(source, path))(images)["res5"]
            return Loaded("detectron2", {"feats": maps.mean((2, 3))})
        back = {name_there(k): k for k in source.weights}
        with path.open("rb") as file:
            model: dict[str, Any] = pickle.load(file)["model"]
        network = getattr(torchvision.models, source.name)()
        network.fc = nn.Identity()
        network.load_state_dict({back[k]: torch.from_numpy(v) for k, v in model.items()})
        with torch.no_grad():
            feats = network.eval()(images)
        unseen = "detectron2 is not installed: it has not loaded the file"
        return Loaded(library("torchvision"), {"feats": feats}, unseen)


def name_there(own: str) -> str:
    """Detectron2's name of a tensor of torchvision's ResNet."""
    name = re.sub(r"^layer(\d)", lambda found: f"res{int(found[1]) + 1}", own)
    for pattern, there in _RULES:
        name = re.sub(pattern, there, name)
    return name


class _Pickler(pickle.Pickler):
    """Arrays as calls of ``numpy.ndarray``: NumPy 2 pickles them under names that NumPy 1, which
    Detectron2 is often installed with, does not have."""

    def reducer_override(self, item: Any) -> Any:
        if isinstance(item, np.ndarray):
            return np.ndarray, (item.shape, item.dtype.str, bytearray(item.tobytes()))
        return NotImplemented

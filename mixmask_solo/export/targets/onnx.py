# SPDX-License-Identifier: MIT
"""ONNX: the network as a graph that runs without PyTorch; needs the extra ``onnx``."""

import json
import warnings
from importlib.util import find_spec
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn

from mixmask_solo.config import ConfigError, listing
from mixmask_solo.export.source import Source
from mixmask_solo.export.target import Loaded, Target, library

OPSET = 18
_NEEDED = ("onnx", "onnxscript", "onnxruntime")


class Onnx(Target):
    """Input ``images (N, C, size, size)`` float32, any N; outputs ``feats`` and with a head ``z``.

    Args:
        filtered: whether the graph begins with the input filter of the pretraining.
    """

    suffix = ".onnx"
    ends = (".onnx",)
    head = True

    def __init__(self, *, filtered: bool = True) -> None:
        self.filtered = filtered

    def refuse(self, source: Source) -> None:
        lacking = [name for name in _NEEDED if find_spec(name) is None]
        if lacking:
            raise ConfigError(
                f"to is onnx: {listing(lacking, 'and')} cannot be imported; install the extra: "
                "pip install '.[onnx]'"
            )

    def write(self, source: Source, path: Path, place: Path) -> None:
        graph = _Graph(source, filtered=self.filtered).eval()
        names = ["feats"] if source.projector is None else ["feats", "z"]
        options: Any = {"verbose": False}
        with torch.no_grad(), warnings.catch_warnings():
            warnings.simplefilter("ignore")  # of the exporter about its own parts
            program: Any = torch.onnx.export(
                graph,
                (source.images,),
                input_names=["images"],
                output_names=names,
                dynamic_shapes={"images": {0: torch.export.Dim("N")}},
                opset_version=OPSET,
                dynamo=True,
                **options,
            )
        inside = self.filtered and source.filter is not None
        told = {**source.facts, "input_filter_in_graph": inside}
        program.model.metadata_props["mixmask"] = json.dumps(told)
        program.save(path)

    def lines(self, source: Source, place: Path) -> list[str]:
        names = ["feats"] if source.projector is None else ["feats", "z"]
        left = "feats, z" if source.projector is not None else "[feats]"
        return [
            "import onnxruntime",
            f"session = onnxruntime.InferenceSession({str(place)!r})",
            f"{left} = session.run({names}, {{'images': images}})  # {_shape(source)}",
        ]

    def load(self, source: Source, path: Path, images: Tensor) -> Loaded:
        names: dict[str, Any] = {"images": images.numpy()}
        exec("\n".join(self.lines(source, path)), names)
        outputs = {"feats": torch.from_numpy(names["feats"])}
        if source.projector is not None:
            outputs["z"] = torch.from_numpy(names["z"])
        return Loaded(library("onnxruntime"), outputs)

    def images(self, source: Source) -> Tensor:
        """Filtered, as the graph does it by itself."""
        images = source.images
        return source.filter(images) if self.filtered and source.filter is not None else images


class _Graph(nn.Module):
    """What is traced: filter, backbone, projector."""

    def __init__(self, source: Source, *, filtered: bool) -> None:
        super().__init__()
        self.backbone = source.backbone
        self.projector = source.projector
        self.filters = source.filter.filters if filtered and source.filter is not None else ()

    def forward(self, images: Tensor) -> Any:
        for apply in self.filters:
            images = apply(images)
        feats = self.backbone(images)
        return feats if self.projector is None else (feats, self.projector(feats))


def _shape(source: Source) -> str:
    images = source.images
    return f"images: NumPy, float32, N x {images.shape[1]} x {source.size} x {source.size}"

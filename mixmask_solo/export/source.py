# SPDX-License-Identifier: MIT
"""What is exported: a network without its input filter, the filter, and what is known of both."""

from collections.abc import Mapping
from functools import partial
from pathlib import Path
from typing import Any, NamedTuple

import torch
from torch import Tensor, nn

from mixmask_solo import __version__
from mixmask_solo.config import ConfigError
from mixmask_solo.config.datasets import DATASETS
from mixmask_solo.evaluation.network import load_network, why_no_projector
from mixmask_solo.host.builtin.backbones import actual_stem, features_dim
from mixmask_solo.records.checkpoints import checksum
from mixmask_solo.records.pretrained import Pretrained, read_pretrained
from mixmask_solo.records.weights import backbone_block
from mixmask_solo.strategies import InputFilter, filtering, stored_filter

Outputs = dict[str, Tensor]  # feats (N, F); of a head also z (N, D)
_IMAGES = 4


class Source(NamedTuple):
    """A network to export.

    Attributes:
        block: the ``backbone`` block, its stem settled.
        backbone: in evaluation mode, from ``(N, C, H, W)`` to ``(N, F)``, without input filter.
        projector: from ``(N, F)`` to ``(N, D)``; None unless ``which`` is ``head``.
        filter: what images pass before the backbone, in training and in every evaluation.
        size: side of the images of comparisons, and of an input whose size is fixed.
        facts: what travels with the weights, plain values.
    """

    pretrained: Pretrained
    which: str
    block: dict[str, Any]
    backbone: nn.Module
    projector: nn.Module | None
    filter: InputFilter | None
    size: int
    facts: dict[str, Any]

    @property
    def name(self) -> str:
        """Of the network, in torchvision or timm."""
        return str(self.block["name"])

    @property
    def kwargs(self) -> dict[str, Any]:
        """Arguments of its constructor there."""
        return dict(self.block["kwargs"] or {})

    @property
    def weights(self) -> dict[str, Tensor]:
        """The backbone's, by its own names, each in memory of its own."""
        return _own(self.backbone.state_dict())

    @property
    def with_head(self) -> dict[str, Tensor]:
        """The same under ``backbone.``, the projector's under ``projector.``"""
        named = {f"backbone.{k}": tensor for k, tensor in self.weights.items()}
        if self.projector is None:
            return named
        head = _own(self.projector.state_dict())
        return {**named, **{f"projector.{k}": tensor for k, tensor in head.items()}}

    @property
    def images(self) -> Tensor:
        """``(4, C, size, size)``: the same noise on every machine."""
        draw = torch.Generator().manual_seed(0)
        channels = int(self.kwargs.get("in_chans", 3))
        return torch.randn(_IMAGES, channels, self.size, self.size, generator=draw)

    @torch.no_grad()
    def outputs(self, images: Tensor) -> Outputs:
        """What the network makes of images that have passed the filter, if there is one."""
        feats = self.backbone(images)
        if self.projector is None:
            return {"feats": feats}
        return {"feats": feats, "z": self.projector(feats)}


def read_source(
    checkpoint: str | Path,
    which: str = "online",
    *,
    backbone: Mapping[str, Any] | None = None,
    size: int | None = None,
) -> Source:
    """The network that ``which`` means: ``online``, ``momentum``, or ``head``, which is the online
    backbone with its projector.

    Args:
        checkpoint: anything a probe reads: a file, or the folder of a run.
        backbone: keys of the block, where nothing beside the weights tells them.
        size: side of images; by default that of the pretraining's crops, else 32 for a CIFAR stem
            and 224 for others.

    Raises:
        ConfigError: for a file that is none or a probe's, or that lacks the network.
    """
    pretrained = read_pretrained(checkpoint, "momentum" if which == "momentum" else "online")
    config, path = pretrained.config, pretrained.path
    head = which == "head"
    if head and why_no_projector(pretrained):
        method = f"of method {pretrained.method}" if config.get("method") else "of no method told"
        raise ConfigError(
            f"which is head: checkpoint '{path}' is {method}, whose projector has no counterpart "
            "here; choose online"
        )
    block = backbone_block(pretrained, backbone)
    network: Any = load_network(pretrained, projector=head, backbone=backbone).eval()
    inner = network.backbone if head else network
    inner._forward_pre_hooks.clear()  # the filter is told, or baked in, where a target has room
    block["stem"] = actual_stem(inner)
    found = stored_filter(config.get("method_kwargs") or {}, pretrained.filters)
    view = _view(pretrained)
    usual = view["crop_size"] or (224 if block["stem"] == "imagenet" else 32)
    facts = _facts(pretrained, which, block, view, found, features_dim(inner))
    projector = network.projector if head else None
    return Source(pretrained, which, block, inner, projector, found, size or usual, facts)


def _facts(
    pretrained: Pretrained,
    which: str,
    block: dict[str, Any],
    view: dict[str, Any],
    found: InputFilter | None,
    features: int,
) -> dict[str, Any]:
    before = pretrained.exported  # what is exported once more stays what it was
    return {
        "backbone": block,
        "which": "momentum" if pretrained.whose == "momentum" else which,
        "features": features,
        **view,
        "input_filter": [] if found is None else [_told(f) for f in found.filters],
        "filter_blocks": _blocks(pretrained),  # which this package rebuilds it from
        "method": pretrained.config.get("method") or before.get("method"),
        "seed": pretrained.config.get("seed"),
        "dataset": pretrained.data.get("dataset"),
        "run": pretrained.run,
        "checkpoint": pretrained.path.name,
        "crc32": f"{checksum(pretrained.path):08x}",
        "package": f"mixmask_solo {__version__}",
    }


def _blocks(pretrained: Pretrained) -> dict[str, Any]:
    kwargs = pretrained.config.get("method_kwargs") or {}
    names = filtering(kwargs) if pretrained.filters is None else pretrained.filters
    return {name: kwargs[name] for name in names}


def _view(pretrained: Pretrained) -> dict[str, Any]:
    """Statistics and size of the pretraining's images; None where nothing tells them."""
    known = DATASETS.get(pretrained.data.get("dataset", ""))
    found: dict[str, Any] = {"mean": None, "std": None, "crop_size": None}
    if known is not None:
        found |= {"mean": known.mean, "std": known.std}
    found |= pretrained.view
    size = found["crop_size"]
    return {
        "mean": _floats(found["mean"]),
        "std": _floats(found["std"]),
        "crop_size": None if size is None else int(size),
    }


def _floats(values: Any) -> list[float] | None:
    return None if values is None else [float(value) for value in values]


def _told(applied: Any) -> dict[str, Any]:
    """A filter by its name and numbers."""
    if isinstance(applied, partial):
        return {"name": applied.func.__name__, **applied.keywords}
    return {"name": getattr(applied, "__name__", type(applied).__name__)}


def _own(state: Mapping[str, Tensor]) -> dict[str, Tensor]:
    return {name: tensor.detach().clone().contiguous() for name, tensor in state.items()}

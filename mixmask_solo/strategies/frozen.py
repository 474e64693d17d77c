# SPDX-License-Identifier: MIT
"""Networks of files, without head and up to a stage, for strategies that only look through them.

The one place below the methods that builds networks by name and reads checkpoints.
"""

import hashlib
import json
from collections import OrderedDict
from collections.abc import Iterable
from dataclasses import asdict
from functools import lru_cache
from pathlib import Path
from typing import NamedTuple

import torch
import torchvision
from omegaconf import OmegaConf
from torch import Tensor, nn

from mixmask_solo.config import ConfigError
from mixmask_solo.config.datasets import Channels, info
from mixmask_solo.config.schema.run import Backbone
from mixmask_solo.host.builtin.backbones import actual_stem, build_backbone
from mixmask_solo.records.pretrained import Pretrained, find_checkpoint, read_pretrained
from mixmask_solo.records.weights import backbone_block, load_weights

USUAL = "resnet50"  # of which torchvision's default weights are taken


class Facts(NamedTuple):
    """What a file tells."""

    backbone: str  # its whole block, as JSON
    mean: Channels
    std: Channels
    digest: str


def file_of(given: str | None, name: str) -> Path:
    """Where weights lie, whether they do or not: a file, a run's folder, or torchvision's own."""
    if given is not None:
        return find_checkpoint(given)
    try:
        url = torchvision.models.get_model_weights(name).DEFAULT.url
    except ValueError as error:
        raise ConfigError(
            f"backbone.name is {name}: torchvision has no weights of that name; give weights or "
            "from_run"
        ) from error
    return Path(torch.hub.get_dir(), "checkpoints", url.rpartition("/")[2])


@lru_cache(maxsize=4)
def facts_of(file: Path, changed: int, source: str, given: str | None, stage: int) -> Facts:
    """What is known about a file; a run asks several times before it begins."""
    return load(file, source, given, stage)[1]


def load(file: Path, source: str, given: str | None, stage: int) -> tuple[nn.Module, Facts]:
    """A file's network up to a stage.

    Args:
        file: any checkpoint that a probe reads.
        source: ``weights``, ``from_run`` or ``torchvision``, which decide what it has to tell.
        given: the block ``backbone`` as JSON, where the file tells less.
        stage: last one that is wanted, from 1 to 4.

    Raises:
        ConfigError: for a file that cannot be read, other weights, or no ResNet's.
    """
    pretrained = read_pretrained(file)
    if source == "from_run" and not pretrained.config.get("backbone"):
        raise ConfigError(f"from_run: '{file}' is of no run of ours: give it as weights")
    if pretrained.filters:
        raise ConfigError(
            f"'{file}' is of a run whose inputs pass a filter (method_kwargs."
            f"{pretrained.filters[0]}): the localiser sees images as they are, choose another one"
        )
    wanted = json.loads(given) if given else {}
    if source == "torchvision":
        wanted.setdefault("name", USUAL)
    block = backbone_block(pretrained, wanted)
    dataset = pretrained.data.get("dataset") or "imagenet"
    network = build(Backbone(**block), dataset)
    load_weights(network, pretrained, block)
    stages = up_to(network, block["name"], stage)
    if block["stem"] == "auto":  # it depends on the data set
        block["stem"] = actual_stem(network)
    mean, std = _statistics(pretrained)
    digest = digest_of(stages.state_dict().values())
    return stages, Facts(json.dumps(block), mean, std, digest)


def build(backbone: Backbone, dataset: str = "imagenet") -> nn.Module:
    """The network of a block; ConfigError for one that does not exist.

    Its first weights are none of the run's random numbers.
    """
    blocks = {"backbone": asdict(backbone), "data": {"dataset": dataset}}
    try:
        with torch.random.fork_rng(devices=[]):
            return build_backbone(OmegaConf.create(blocks))
    except (ValueError, OSError) as error:  # of the host, which knows nothing of our errors
        raise ConfigError(str(error)) from error


def up_to(network: nn.Module, name: str, stage: int) -> nn.Sequential:
    """Its children up to a stage; what pools and classifies is left out."""
    children = dict(network.named_children())
    if not {"conv1", "layer4"} <= children.keys():
        raise ConfigError(
            f"backbone.name is {name}: only a ResNet's stages are known (layer1 to layer4); choose "
            "one of torchvision's or timm's"
        )
    names = list(children)[: list(children).index(f"layer{stage}") + 1]
    return nn.Sequential(OrderedDict((n, children[n]) for n in names))


def digest_of(weights: Iterable[Tensor]) -> str:
    """Of tensors on any device, 16 hexadecimal digits."""
    total = hashlib.blake2b(digest_size=8)
    for tensor in weights:
        total.update(tensor.detach().cpu().contiguous().reshape(-1).view(torch.uint8).numpy().data)
    return total.hexdigest()


def _statistics(pretrained: Pretrained) -> tuple[Channels, Channels]:
    """Of the images that a checkpoint was trained on; ImageNet's where it does not tell."""
    facts = info(pretrained.data.get("dataset", "imagenet"))
    found = {"mean": facts.mean, "std": facts.std, **pretrained.view}
    return tuple(found["mean"]), tuple(found["std"])

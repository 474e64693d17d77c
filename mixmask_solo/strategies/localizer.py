# SPDX-License-Identifier: MIT
"""A frozen network that tells where an image shows something, and where its weights come from.

Its weights are part of the run's checkpoints, so that neither a resumed nor an evaluated run asks
for them; which they are, the stored block tells by a digest of the weights themselves.
"""

import json
from collections.abc import Mapping
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn

from mixmask_solo.config import ConfigError, option
from mixmask_solo.config.check import get
from mixmask_solo.config.datasets import info
from mixmask_solo.config.schema.run import Backbone
from mixmask_solo.strategies.frozen import (
    USUAL,
    build,
    digest_of,
    facts_of,
    file_of,
    load,
    up_to,
)


@dataclass
class LocalizerOptions:
    """Which network, and what it was trained on; what is null is filled in from its file.

    Args:
        weights: a checkpoint of ours, of solo-learn, of other code, or mere weights; null, without
            ``from_run``, for torchvision's own of a ResNet-50 trained with labels.
        from_run: an earlier run of ours, its folder or one of its checkpoints.
        backbone: the network, where the file does not tell.
        stage: last one that is passed, from 1; the published one is 4, earlier ones have finer
            maps for small images (extension).
        mean: of the images that it was trained on, per channel.
        std: their deviation.
        digest: of the weights that are used.
        scale: factor that turns the run's images into the localiser's, per channel; derived.
        shift: what is added then; derived.
    """

    weights: str | None = None
    from_run: str | None = None
    backbone: Backbone | None = None
    stage: int = option(4, low=1, high=4)
    mean: list[float] | None = option(None, length=3)
    std: list[float] | None = option(None, length=3, above=0.0)
    digest: str | None = None
    scale: list[float] | None = option(None, length=3)
    shift: list[float] | None = option(None, length=3)

    def __post_init__(self) -> None:
        if isinstance(self.backbone, Mapping):
            self.backbone = Backbone(**self.backbone)

    def validate(self, prefix: str) -> None:
        """Raises ConfigError where both sources are given."""
        if self.weights is not None and self.from_run is not None:
            raise ConfigError(
                f"{prefix}.weights is {self.weights} and {prefix}.from_run is {self.from_run}: "
                "give one of them"
            )


class Localizer(nn.Module):
    """Saliency maps of images, without gradient; always in evaluation mode, never trained.

    Args:
        options: as :func:`identify` leaves them.

    Raises:
        ConfigError: where the file holds other weights than it did then.
    """

    scale: Tensor | None
    shift: Tensor | None

    def __init__(self, options: LocalizerOptions) -> None:
        super().__init__()
        if options.digest is None or options.backbone is None:
            raise ValueError("the localiser is not identified")
        self.digest, self.ready = options.digest, _file(options).is_file()
        if self.ready:
            given = json.dumps(asdict(options.backbone))
            self.network, found = load(_file(options), _source(options), given, options.stage)
            if found.digest != options.digest:
                raise ConfigError(f"'{_file(options)}' has changed since it was looked at")
        else:  # the weights of a run that goes on are in its checkpoint
            network = build(options.backbone)
            self.network = up_to(network, options.backbone.name, options.stage)
        scale, shift = (
            torch.tensor(given).view(1, -1, 1, 1) if given else None
            for given in (options.scale, options.shift)
        )
        self.register_buffer("scale", scale, persistent=False)
        self.register_buffer("shift", shift, persistent=False)
        self.requires_grad_(False).train()

    def train(self, mode: bool = True) -> "Localizer":
        """Stays in evaluation mode: its running statistics are those it was trained with."""
        return super().train(False)

    @torch.no_grad()
    def forward(self, x: Tensor) -> Tensor:
        """``(N, h, w)`` float64 of normalised images ``(N, 3, H, W)``: the sum over channels."""
        if not self.ready:
            raise ConfigError(
                "the localiser's weights are neither in its file, which does not exist, nor in a "
                "checkpoint that the run goes on from: give localizer.weights or .from_run"
            )
        if self.scale is not None and self.shift is not None:
            x = x * self.scale + self.shift
        found: Tensor = self.network(x)
        return found.sum(1, dtype=torch.float64)

    def _load_from_state_dict(self, state_dict: dict[str, Any], prefix: str, *args: Any) -> None:
        """Takes weights of its own from a checkpoint; those of another localiser are left there."""
        own = {f"{prefix}network.{name}": t for name, t in self.network.state_dict().items()}
        given = {name: state_dict[name] for name in own if name in state_dict}
        if len(given) == len(own) and digest_of(given.values()) == self.digest:
            self.ready = True
        elif self.ready:
            state_dict.update(own)
        super()._load_from_state_dict(state_dict, prefix, *args)


def identify(options: LocalizerOptions, key: str, cfg: Any) -> None:
    """Fills in what is null, and how the images of the run ``cfg`` become the localiser's.

    Args:
        key: full key of the block, for error lines.

    Raises:
        ConfigError: for a file that is not there, cannot be read or holds no such network.
    """
    try:
        file = _file(options)
        if file.is_file() or options.digest is None or options.backbone is None:
            _fill(options, file)
    except ConfigError as error:
        raise ConfigError(f"{key}: {error}") from error
    views = get(cfg, "augmentations") or [{}]
    facts = info(get(cfg, "data.dataset", "imagenet"))
    mean, std = (list(views[0].get(name) or getattr(facts, name)) for name in ("mean", "std"))
    options.scale = options.shift = None
    if options.mean and options.std and (mean, std) != (options.mean, options.std):
        options.scale = [a / b for a, b in zip(std, options.std, strict=True)]
        shifts = zip(mean, options.mean, options.std, strict=True)
        options.shift = [(ours - theirs) / deviation for ours, theirs, deviation in shifts]


def map_size(options: LocalizerOptions, size: int) -> tuple[int, int]:
    """Cells of the map of square images with ``size`` pixels a side."""
    assert options.backbone is not None
    with torch.device("meta"):
        network = up_to(build(options.backbone), options.backbone.name, options.stage).eval()
        height, width = network(torch.empty(1, 3, size, size)).shape[2:]
    return height, width


def _fill(options: LocalizerOptions, file: Path) -> None:
    if not file.is_file():
        raise _absent(options, file)
    given = json.dumps(asdict(options.backbone)) if options.backbone else None
    changed = file.stat().st_mtime_ns
    found = facts_of(file, changed, _source(options), given, options.stage)
    if options.digest not in (None, found.digest):
        raise ConfigError(
            f"'{file}' has other weights (digest {found.digest}) than digest says, which is "
            f"{options.digest}: give that file, or leave digest out"
        )
    options.backbone, options.digest = Backbone(**json.loads(found.backbone)), found.digest
    options.mean, options.std = options.mean or list(found.mean), options.std or list(found.std)


def _absent(options: LocalizerOptions, file: Path) -> ConfigError:
    if _source(options) == "torchvision":
        name = options.backbone.name if options.backbone else USUAL
        return ConfigError(
            f"torchvision's weights of {name} are not at hand, and nothing is downloaded unasked: "
            f"python -c 'import torchvision; torchvision.models.{name}(weights=\"DEFAULT\")' "
            f"fetches '{file}'; or give weights or from_run"
        )
    return ConfigError(
        f"checkpoint '{file}' does not exist: check the path; a run goes on without it where "
        "digest and backbone are given as its args.json has them"
    )


def _source(options: LocalizerOptions) -> str:
    """Which of the three it is."""
    if options.from_run is not None:
        return "from_run"
    return "weights" if options.weights is not None else "torchvision"


def _file(options: LocalizerOptions) -> Path:
    name = options.backbone.name if options.backbone else USUAL
    return file_of(options.from_run or options.weights, name)

# SPDX-License-Identifier: MIT
"""How a cell of a table is measured."""

from dataclasses import dataclass
from typing import Any, Literal

from mixmask_solo.config import ConfigError, option

_RECIPES = {
    "mixmask-linear": "the probe's, as linear/cifar/sgd",
    "mixmask-finetune": "the fine-tuning's, as finetune/cifar/sgd",
    "mixmask-detect": "the detector's, as detect/coco/c4",
}
_AP = tuple(f"_ap{size}" for size in ("", "50", "75", "_small", "_medium", "_large"))


@dataclass
class Protocol:
    """What measures a pretrained network.

    ``mixmask-knn`` by its options; the others by a recipe of their own with overrides, of whose end
    ``value`` counts, or the best one of its course with ``best``. ``dataset``: what they measure
    on, where that is another than the column's, under whose name the site has it.
    """

    command: Literal["mixmask-knn", "mixmask-linear", "mixmask-finetune", "mixmask-detect"]
    metric: str  # in words, e.g. `linear top-1`
    recipe: str | None = None
    dataset: str | None = None
    overrides: list[str] = option([])
    value: str = "val_acc1"
    best: bool = False
    features: Literal["backbone", "projector"] = "projector"
    k: int = option(200, low=1)
    temperature: float = option(0.1, above=0)

    def validate(self, prefix: str) -> None:
        """All but the k-NN have a recipe; a detector has several figures, none the usual one."""
        if self.command in _RECIPES and not self.recipe:
            raise ConfigError(f"{prefix}.recipe is missing: give {_RECIPES[self.command]}")
        if self.command == "mixmask-detect" and not self.value.endswith(_AP):
            raise ConfigError(
                f"{prefix}.value is {self.value}: give a figure of mixmask-detect, such as "
                "val_box_ap50, val_mask_ap or val_voc_ap75"
            )
        if self.command == "mixmask-knn" and self.dataset:
            raise ConfigError(
                f"{prefix}.dataset is {self.dataset}: mixmask-knn measures on the images of the "
                "run; leave it out"
            )

    @property
    def measurement(self) -> tuple[Any, ...]:
        """What it runs: the same for protocols that take different figures of one run."""
        own = (self.features, self.k, self.temperature)
        return (self.command, self.recipe, self.dataset, tuple(self.overrides), *own)

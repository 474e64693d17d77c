# SPDX-License-Identifier: MIT
"""A detector as Lightning trains and measures it."""

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import torch
import torch.distributed as dist
from lightning.pytorch import LightningModule
from omegaconf import DictConfig, OmegaConf
from torch import Tensor, nn
from torch.nn.modules.batchnorm import _BatchNorm

from mixmask_solo.config import ConfigError
from mixmask_solo.data.detection.annotations import DetectionSource
from mixmask_solo.evaluation.detection.coco_metric import coco_metric
from mixmask_solo.evaluation.detection.detector import Detector
from mixmask_solo.evaluation.detection.precise_bn import renew_statistics
from mixmask_solo.evaluation.detection.predictions import Prediction, in_image
from mixmask_solo.evaluation.detection.voc_metric import voc_metric
from mixmask_solo.host.builtin.optimization import Schedule, ScheduledLR, build_optimizer

Keep = Callable[[list[Prediction]], None]


@dataclass(frozen=True)
class WarmupSteps(Schedule):
    """From ``factor`` times the rate linearly to all of it within ``warmup`` steps, then
    ``gamma`` from each milestone on; Detectron2's, which counts from 0."""

    factor: float = 0.001

    def lr(self, base: float, at: int) -> float:
        share = min(at / self.warmup, 1.0) if self.warmup else 1.0
        passed = sum(at >= milestone for milestone in self.milestones or ())
        return base * self.gamma**passed * (self.factor * (1 - share) + share)


class Detection(LightningModule):
    """The run's module.

    Args:
        cfg: resolved.
        source: the validation images.
        keep: called with all that was found by each validation, in every process.
    """

    def __init__(
        self, detector: Detector, cfg: DictConfig, source: DetectionSource, keep: Keep
    ) -> None:
        super().__init__()
        self.cfg, self.detector, self.source, self.keep = cfg, detector, source, keep
        self._own: list[Prediction] = []

    def configure_optimizers(self) -> Any:
        """Norm layers have their own weight decay; steps of the schedule are the optimiser's."""
        o, s = self.cfg.optimizer, self.cfg.scheduler
        norms = [p for m in self.modules() if _is_norm(m) for p in m.parameters(recurse=False)]
        own = {id(p) for p in norms}
        others = [p for p in self.parameters() if id(p) not in own]
        groups: list[dict[str, Any]] = [
            {"params": others, "name": "weights"},
            {"params": norms, "name": "norms", "weight_decay": float(o.weight_decay_norm)},
        ]
        kwargs: Any = OmegaConf.to_container(o.kwargs)
        optimizer = build_optimizer(
            o.name,
            [group for group in groups if group["params"]],
            allow_fused=not self.trainer.gradient_clip_val,
            **{"lr": float(o.lr), "weight_decay": float(o.weight_decay), **kwargs},
        )
        schedule = WarmupSteps(
            warmup=int(s.warmup_steps),
            milestones=tuple(map(float, sorted(s.milestones))),
            gamma=float(s.gamma),
            factor=float(s.warmup_factor),
        )
        scheduler = {"scheduler": ScheduledLR(optimizer, schedule), "interval": "step"}
        return [optimizer], [scheduler]

    def training_step(self, batch: Any, batch_idx: int) -> Tensor:
        """The sum of all losses; logs it and each of them."""
        images, targets = batch
        losses: dict[str, Tensor] = self.detector(images, targets)
        total = torch.stack([*losses.values()]).sum()
        logged = {f"train_{name}_loss": value for name, value in losses.items()}
        count = len(images)
        self.log_dict(
            {**logged, "train_loss": total}, on_step=True, on_epoch=True, batch_size=count
        )
        return total

    def on_validation_start(self) -> None:
        """Renews BatchNorm's statistics; nothing that training reads."""
        count, data = int(self.cfg.precise_bn), self.trainer.datamodule  # type: ignore[attr-defined]
        if count and not self.trainer.sanity_checking:
            renew_statistics(self.detector, data.renewal(count), int(self.cfg.seed), self.device)

    def on_validation_epoch_start(self) -> None:
        self._own = []

    def validation_step(self, batch: Any, batch_idx: int) -> None:
        """Keeps what is found."""
        images, targets = batch
        for image, found, target in zip(images, self.detector(images), targets, strict=True):
            one = in_image(found, target["index"], target["size"], image.shape[-2:])
            self._own.append(one)

    def on_validation_epoch_end(self) -> None:
        """Measures all that was found, in every process alike.

        Raises:
            ConfigError: where no image could be read: what is told then is no precision.
        """
        found, self._own = self._gathered(), []
        if not found:
            raise ConfigError(
                "data.val_path: none of the validation images that were measured could be read; "
                "check data.val_images, or the folder of the images"
            )
        images, classes = self.source.annotated, len(self.source.classes)
        masks = bool(self.cfg.detector.mask)
        measured = coco_metric(images, classes, found, masks=masks)
        if self.cfg.data.format == "voc":
            measured |= voc_metric(images, classes, found, self.cfg.data.voc_metric)
        measured["images"] = float(len(found))
        # Numbers: they are reduced on the module's device, a tensor on its own. All processes have
        # the same; that they may differ is warned of otherwise.
        rows = {f"val_{name}": float(value) for name, value in measured.items()}
        self.log_dict(rows, batch_size=len(found), sync_dist=True)
        self.keep(found)

    def _gathered(self) -> list[Prediction]:
        if self.trainer.world_size == 1:
            return self._own
        lists: list[list[Prediction]] = [[] for _ in range(self.trainer.world_size)]
        dist.all_gather_object(lists, self._own)
        # As one process finds them: among equal scores VOC's metric keeps the order.
        return sorted((one for found in lists for one in found), key=lambda one: one.image)


def _is_norm(module: nn.Module) -> bool:
    return isinstance(module, (_BatchNorm, nn.GroupNorm, nn.LayerNorm))

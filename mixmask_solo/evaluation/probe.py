# SPDX-License-Identifier: MIT
"""A linear classifier on a pretrained backbone, as the papers set it up."""

from dataclasses import dataclass
from typing import Any, Literal

import torch
import torch.nn.functional as F
from lightning.pytorch import Callback, LightningModule, Trainer
from omegaconf import DictConfig, OmegaConf
from torch import Tensor, nn

from mixmask_solo.config import ConfigError
from mixmask_solo.config.option import option
from mixmask_solo.config.schema.optimizer import unlisted
from mixmask_solo.data.augmentations.randomness import numpy_seeded
from mixmask_solo.host.builtin import LinearModel
from mixmask_solo.host.builtin.labelled import labelled_means
from mixmask_solo.host.knn import UNLABELLED


@dataclass
class ProbeOptions:
    """The block ``probe`` (ours).

    Attributes:
        features: ``augmented`` runs random crops through the backbone every epoch (MoCo's and
            MixMask's protocol); ``cached`` runs each un-augmented image through it once and
            trains on the features (htdt/self-supervised, behind the papers' CIFAR figures).
        init: ``default`` is PyTorch's; ``normal`` is MoCo's and MixMask's, N(0, 0.01²), bias 0.
        normalize: whether features are brought to unit length (L2) ahead of the classifier; each
            of two values is for heads of its own.
        holdout: share of each class of the training images that is kept out of training and
            measured beside the test images; ``auto`` is 0.1 where one of several heads has to be
            chosen, else none.
    """

    features: Literal["augmented", "cached"] = "augmented"
    init: Literal["default", "normal"] = "default"
    normalize: bool | list[bool] = option(False, distinct=True)
    holdout: float | Literal["auto"] | None = option("auto", above=0.0, high=0.5)

    def validate(self, prefix: str) -> None:
        self.normalize = unlisted(self.normalize)


class Identity(nn.Identity):
    """Stands for the backbone where its features ``(N, dim)`` are the input already."""

    def __init__(self, dim: int) -> None:
        super().__init__()
        self.num_features = dim


class SoftTargets:
    """From images and classes to (mixed) images and a share of every class.

    What is mixed, and how, depends on the seed and on ``place``, the (epoch, batch, rank) of the
    next batch, alone: timm draws from NumPy's global generator, which is started anew for each
    batch and left as it was.
    """

    def __init__(self, cfg: DictConfig) -> None:
        self.seed = int(cfg.get("seed", 5))
        self.smoothing, self.classes = float(cfg.label_smoothing), int(cfg.data.num_classes)
        self.place = (0, 0, 0)
        self.mixup: Any = None
        if not (cfg.mixup > 0 or cfg.cutmix > 0):
            return
        if cfg.optimizer.batch_size % 2:
            raise ConfigError(
                f"optimizer.batch_size is {cfg.optimizer.batch_size}: mixup and cutmix pair "
                "images, give an even number"
            )
        if cfg.data.get("last_batch") == "keep":
            key = "mixup" if cfg.mixup > 0 else "cutmix"
            raise ConfigError(
                f"data.last_batch is keep and {key} is {cfg[key]:g}: it pairs images, and the last "
                "batch may have an odd one; set data.last_batch=drop"
            )
        from timm.data.mixup import Mixup

        self.mixup = Mixup(
            mixup_alpha=cfg.mixup,
            cutmix_alpha=cfg.cutmix,
            label_smoothing=self.smoothing,
            num_classes=self.classes,
        )

    def __call__(self, x: Tensor, targets: Tensor) -> tuple[Tensor, Tensor]:
        """``x (N, C, H, W)``, mixed in place, and ``(N, classes)`` for ``(N,)`` int64 targets."""
        if self.mixup is None:  # 1 - smoothing for the class, the rest spread evenly over all
            hot = F.one_hot(targets, self.classes).to(torch.get_default_dtype())
            return x, hot * (1 - self.smoothing) + self.smoothing / self.classes
        with numpy_seeded(self.seed, *self.place):
            mixed: tuple[Tensor, Tensor] = self.mixup(x, targets)
        return mixed


class Probe(LinearModel):
    """The host's probe, which tells its soft targets which batch they are drawn for, and measures
    held-out training images, where there are any, beside the validation images.

    Args:
        backbone: a pretrained one, or :class:`Identity` on cached features.
        cfg: resolved; it decides schedule and soft targets.
        init: the classifier's start; by default what ``cfg.probe`` says.
    """

    def __init__(self, backbone: nn.Module, cfg: DictConfig, init: str | None = None) -> None:
        settings: Any = OmegaConf.create(OmegaConf.to_container(cfg))
        if cfg.scheduler.name == "exponential":
            settings.scheduler = {**settings.scheduler, **exponential(cfg)}
        if isinstance(backbone, Identity):
            settings.performance.disable_channel_last = True  # features have no such layout
        soft = cfg.mixup > 0 or cfg.cutmix > 0 or cfg.label_smoothing > 0
        super().__init__(backbone, settings, mixup_func=SoftTargets(cfg) if soft else None)
        start_classifier(self.classifier, init or cfg.probe.init)
        self.normalize = bool(OmegaConf.select(cfg, "probe.normalize"))
        self.held_out_outputs: list[dict[str, Any]] = []

    def classify(self, feats: Tensor) -> Tensor:
        return super().classify(F.normalize(feats, dim=1) if self.normalize else feats)

    @property
    def holds_out(self) -> bool:
        """Whether training images are kept apart to be measured, in all processes alike: one whose
        share could not be read has no outputs, and is waited for by the others."""
        kept = getattr(getattr(self.trainer, "datamodule", None), "held_out", None)
        return kept is not None or bool(self.held_out_outputs)

    def place_soft_targets(self, batch_idx: int) -> None:
        """Tells them the batch that comes next."""
        if isinstance(self.mixup_func, SoftTargets):
            self.mixup_func.place = (self.current_epoch, batch_idx, self.global_rank)

    def training_step(self, batch: Any, batch_idx: int) -> Tensor:
        self.place_soft_targets(batch_idx)
        return super().training_step(batch, batch_idx)

    def validation_step(self, batch: Any, batch_idx: int, dataloader_idx: int = 0) -> None:
        """Collects loss and accuracies; a second loader has the images that were held out."""
        if dataloader_idx == 0:
            super().validation_step(batch, batch_idx)
        else:
            count = (batch[1] != UNLABELLED).sum()
            self.held_out_outputs.append({**self.shared_step(batch, 0), "batch_size": count})

    def on_validation_epoch_end(self) -> None:
        """Logs the means over all validation images, and over those held out."""
        super().on_validation_epoch_end()
        if self.holds_out:
            means, _ = labelled_means(self.held_out_outputs, ("loss", "acc1"), self.device)
            held_out = {f"holdout_{name}": mean for name, mean in means.items()}
            self.log_dict(held_out, sync_dist=True)
            self.held_out_outputs.clear()


def start_classifier(classifier: nn.Linear, init: str) -> None:
    """Draws weights as ``ProbeOptions.init`` says, in place, from the global generator."""
    if init == "normal":
        nn.init.normal_(classifier.weight, std=0.01)
        nn.init.zeros_(classifier.bias)


def exponential(cfg: DictConfig) -> dict[str, Any]:
    """A constant factor each epoch, which would reach ``min_lr`` with the epoch after the last."""
    epochs, lr, low = int(cfg.max_epochs), float(cfg.optimizer.lr), float(cfg.scheduler.min_lr)
    if not 0 < low <= lr:
        raise ConfigError(
            f"scheduler.min_lr is {low:g}: an exponential decay ends above 0 and not above the "
            f"(scaled) learning rate {lr:g}"
        )
    steps = list(range(1, epochs))
    return {"name": "step", "lr_decay_steps": steps, "gamma": (low / lr) ** (1 / epochs)}


class BestEpoch(Callback):
    """Remembers, also over a resumption, the validation with the highest ``val_acc1``, which the
    published code keeps too; the first of equals counts."""

    def __init__(self) -> None:
        self.best: dict[str, float] = {}

    def on_validation_end(self, trainer: Trainer, pl_module: LightningModule) -> None:
        acc1 = trainer.callback_metrics.get("val_acc1")
        if trainer.sanity_checking or acc1 is None:
            return
        if not self.best or float(acc1) > self.best["best_val_acc1"]:
            self.best = {
                "best_epoch": trainer.current_epoch,
                "best_val_acc1": float(acc1),
                "best_val_acc5": float(trainer.callback_metrics["val_acc5"]),
            }

    def told(self) -> dict[str, Any]:
        """Entries of ``result.json``."""
        return dict(self.best)

    def state_dict(self) -> dict[str, Any]:
        return dict(self.best)

    def load_state_dict(self, state_dict: dict[str, Any]) -> None:
        self.best = dict(state_dict)

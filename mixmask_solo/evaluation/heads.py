# SPDX-License-Identifier: MIT
"""Many linear classifiers on the same features at once, each exactly as if it were alone."""

from copy import deepcopy
from itertools import product
from typing import Any, NamedTuple

import torch
import torch.nn.functional as F
from omegaconf import DictConfig, ListConfig, OmegaConf
from torch import Tensor, nn

from mixmask_solo.config.schema.optimizer import HEADS
from mixmask_solo.evaluation.probe import Probe, exponential
from mixmask_solo.host.builtin.labelled import class_metrics, labelled_means, mixed_loss
from mixmask_solo.host.builtin.per_class import MEAN_CLASS, MeanPerClass
from mixmask_solo.host.knn import UNLABELLED

METRICS = ("loss", "acc1", "acc5")


class Head(NamedTuple):
    """What tells one head from the others; ``lr`` is the resolved rate, as the optimiser has it."""

    lr: float
    weight_decay: float
    normalize: bool


def heads_of(cfg: DictConfig) -> list[Head]:
    """All combinations of the values of ``HEADS``, in their order; the last key varies fastest."""
    values = [OmegaConf.select(cfg, key, default=False) for key in HEADS]
    return [Head(*v) for v in product(*(v if isinstance(v, ListConfig) else [v] for v in values))]


def build_heads(backbone: nn.Module, cfg: DictConfig) -> Probe:
    """A :class:`Probe` of a resolved configuration, or :class:`Heads` where it asks for several."""
    heads = heads_of(cfg)
    return Probe(backbone, cfg) if len(heads) == 1 else Heads(backbone, cfg, heads)


def best_head(rows: list[dict[str, Any]]) -> int | None:
    """The head with the highest ``holdout_acc1``, of equals the one with the lowest
    ``holdout_loss``, of equals the first; None where no row has them."""
    there = [i for i, row in enumerate(rows) if "holdout_acc1" in row]
    order = {i: (-rows[i]["holdout_acc1"], rows[i]["holdout_loss"]) for i in there}
    return min(there, key=order.__getitem__, default=None)


class Heads(Probe):
    """A probe with a classifier, and a group of parameters, for each of ``heads``.

    All start with the weights of a :class:`Probe` of the same seed, and see the same features of
    the same batches. Each has its own rate and weight decay, its loss alone moves it, and one that
    diverges does not stop the others.

    Attributes:
        measured: of the last validation, a row of plain numbers a head: ``val_loss``, ``val_acc1``,
            ``val_acc5``, ``val_mean_class_acc1``, the first three of ``holdout`` images, too; or
            ``diverged: True`` in their place.
        counts: how many images of either kind that was.
    """

    def __init__(self, backbone: nn.Module, cfg: DictConfig, heads: list[Head]) -> None:
        alone = [_alone(cfg, head) for head in heads]
        super().__init__(backbone, alone[0])
        self.heads = heads
        geometric = cfg.scheduler.name == "exponential"  # so the factor depends on the rate
        self._gammas = [exponential(own)["gamma"] if geometric else self.lr_gamma for own in alone]
        self.classifiers = nn.ModuleList(deepcopy(self.classifier) for _ in heads)
        del self.classifier
        self.per_classes = [MeanPerClass(int(cfg.data.num_classes)) for _ in heads]
        self.measured: list[dict[str, Any]] = []
        self.counts: dict[str, int] = {}

    @property
    def learnable_params(self) -> list[dict[str, Any]]:
        """A group a head: LARS adapts each tensor by itself, so no two heads share one."""
        return [
            {
                "name": f"head_{i}",
                "params": list(classifier.parameters()),
                "lr": head.lr,
                "weight_decay": head.weight_decay,
                "gamma": gamma,
            }
            for i, (head, classifier, gamma) in enumerate(
                zip(self.heads, self.classifiers, self._gammas, strict=True)
            )
        ]

    def classify(self, feats: Tensor) -> Tensor:
        """Logits ``(heads, N, classes)`` of ``feats (N, F)``.

        A product for each head: of one stacked product the last bits are others than alone.
        """
        inputs = {False: feats, True: F.normalize(feats, dim=1)}
        pairs = zip(self.heads, self.classifiers, strict=True)
        return torch.stack([classifier(inputs[head.normalize]) for head, classifier in pairs])

    def shared_step(self, batch: Any, batch_idx: int) -> dict[str, Tensor]:
        """Of each head what :meth:`LinearModel.shared_step` gives of one, ``(heads,)`` each."""
        X, targets = batch
        if self.training and self.mixup_func is not None:
            X, targets = self.mixup_func(X, targets)
            logits = self(X)["logits"]
            return {"loss": torch.stack([mixed_loss(own, targets) for own in logits])}
        found = [class_metrics(own, targets) for own in self(X)["logits"]]
        return {name: torch.stack([one[name] for one in found]) for name in found[0]}

    def training_step(self, batch: Any, batch_idx: int) -> Tensor:
        """The mean of the heads' losses, with the gradient of their sum; logs the mean.

        A loss that is not finite counts in neither, unless none is: then the run ends as one of a
        single head does.
        """
        self.place_soft_targets(batch_idx)
        losses = self.shared_step(batch, batch_idx)["loss"]
        finite = losses.detach().isfinite()
        kept = torch.where(finite | ~finite.any(), losses, torch.zeros_like(losses))
        mean = kept.detach().sum() / finite.sum().clamp_min(1)
        self.log_labelled({"train_loss": mean}, batch[1])
        total = kept.sum()
        return mean + (total - total.detach())

    def validation_step(self, batch: Any, batch_idx: int, dataloader_idx: int = 0) -> None:
        """Collects every head's loss and accuracies, see :class:`Probe`."""
        X, targets = batch
        kept: dict[str, Any] = {"batch_size": (targets != UNLABELLED).sum()}
        for i, own in enumerate(self(X)["logits"]):
            found = class_metrics(own, targets)
            kept |= {f"{name}_{i}": found[name] for name in METRICS}
            if not dataloader_idx:
                self.per_classes[i].add(own, targets)
        (self.held_out_outputs if dataloader_idx else self.validation_step_outputs).append(kept)

    def on_validation_epoch_end(self) -> None:
        """Logs each head's accuracies and, as if it were alone, all of the one that is best on the
        images held out; without those no head is the best."""
        outputs = {"val": self.validation_step_outputs, "holdout": self.held_out_outputs}
        rows: list[dict[str, Any]] = [{} for _ in self.heads]
        for part, found in outputs.items():
            if part == "val" or self.holds_out:
                self.counts[part] = self._add(rows, part, found)
        for row, counted in zip(rows, self.per_classes, strict=True):
            mean = counted.compute(self.device)
            row |= {} if mean is None else {MEAN_CLASS: float(mean)}
        whole = [all(map(_is_finite, row.values())) for row in rows]
        self.measured = [r if ok else {"diverged": True} for r, ok in zip(rows, whole, strict=True)]
        log = {
            f"head_{i}_{name}": row[name]
            for i, row in enumerate(self.measured)
            for name in ("val_acc1", "holdout_acc1")
            if name in row
        }
        best = best_head(self.measured)
        if best is not None:
            log |= {k: v for k, v in self.measured[best].items() if k != "holdout_acc5"}
        self.log_dict(log, sync_dist=True)
        for found in outputs.values():
            found.clear()

    def _add(self, rows: list[dict[str, Any]], part: str, found: list[dict[str, Any]]) -> int:
        """Means over all processes to each head's row; returns the number of images."""
        names = [f"{name}_{i}" for name in METRICS for i in range(len(rows))]
        means, count = labelled_means(found, names, self.device)
        values = torch.stack(list(means.values())).tolist() if means else []
        for name, value in zip(names, values, strict=bool(means)):
            metric, _, i = name.rpartition("_")
            rows[int(i)][f"{part}_{metric}"] = value
        return count


def _is_finite(value: float) -> bool:
    return abs(value) < float("inf")


def _alone(cfg: DictConfig, head: Head) -> DictConfig:
    """The configuration of a run of this head."""
    own: Any = OmegaConf.create(OmegaConf.to_container(cfg))
    for key, value in zip(HEADS, head, strict=True):
        OmegaConf.update(own, key, value, force_add=True)
    settings: DictConfig = own
    return settings

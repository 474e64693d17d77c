# SPDX-License-Identifier: MIT
"""What all methods share: backbone, online classifier, optimiser, validation.

The class contract, the configuration keys, the logged names and the keys and shapes of the
``state_dict`` are those of solo-learn 1.0.6.
"""

from __future__ import annotations

from typing import Any, ClassVar

import torch
from lightning.pytorch import LightningModule
from omegaconf import DictConfig
from torch import Tensor, nn

from mixmask_solo.host.builtin.backbones import build_backbone, features_dim
from mixmask_solo.host.builtin.defaults import METHOD, complete, require
from mixmask_solo.host.builtin.labelled import LabelledMeans, class_metrics
from mixmask_solo.host.builtin.online_knn import WeightedKNN
from mixmask_solo.host.builtin.optimizers import configure_optimizers, read_options
from mixmask_solo.host.knn import UNLABELLED

__all__ = ["BaseMethod"]

Out = dict[str, Any]
_REQUIRED = ("max_epochs", "backbone.name", "data.dataset", "data.num_classes", "optimizer.name")


class BaseMethod(LabelledMeans, LightningModule):
    """Forwards views, trains the online classifier, validates; subclasses add their loss.

    Args:
        cfg: solo-learn's configuration after its derived values (``data.num_classes``,
            ``data.num_large_crops``, ...); never changed, ``self.cfg`` is a completed copy.

    Attributes:
        needs: keys of ``method_kwargs`` without which a method is not built.
        heads: modules on top of the backbone, with what their parameter groups say of themselves.
        defaults: values of keys that the configuration leaves out.
    """

    needs: ClassVar[tuple[str, ...]] = ()
    heads: ClassVar[dict[str, dict[str, Any]]] = {}
    defaults: ClassVar[dict[str, Any]] = METHOD

    def __init__(self, cfg: DictConfig) -> None:
        super().__init__()
        cfg = self.add_and_assert_specific_cfg(cfg)
        self.cfg = cfg
        self.backbone_name: str = cfg.backbone.name
        self.backbone: nn.Module = build_backbone(cfg)
        self.features_dim = features_dim(self.backbone)
        self.num_classes: int = cfg.data.num_classes
        self.classifier: nn.Module = nn.Linear(self.features_dim, self.num_classes)

        read_options(self, cfg)
        self.classifier_lr: float = cfg.optimizer.classifier_lr
        for rate in ("lr", "classifier_lr", "min_lr", "warmup_start_lr"):
            setattr(self, rate, getattr(self, rate) * self.accumulate_grad_batches)

        self.num_large_crops: int = cfg.data.num_large_crops
        self.num_small_crops: int = cfg.data.num_small_crops
        self.num_crops = self.num_large_crops + self.num_small_crops
        self.multicrop = self.num_small_crops != 0

        self.knn_eval: bool = cfg.knn_eval.enabled
        if self.knn_eval:
            self.knn = WeightedKNN.of(cfg.knn_eval)
        self.no_channel_last: bool = cfg.performance.disable_channel_last
        self.validation_step_outputs: list[Out] = []

    @classmethod
    def add_and_assert_specific_cfg(cls, cfg: DictConfig) -> DictConfig:
        """A copy of ``cfg`` with all defaults filled in; ValueError names a key that is missing."""
        require(cfg, [*_REQUIRED, *(f"method_kwargs.{name}" for name in cls.needs)])
        return complete(cfg, cls.defaults)

    @property
    def learnable_params(self) -> list[dict[str, Any]]:
        """One group for each module that is trained; the classifiers have a rate of their own."""
        classifier = {"lr": self.classifier_lr, "weight_decay": 0}
        groups = {"backbone": {}, "classifier": classifier, "momentum_classifier": classifier}
        found = [(n, getattr(self, n, None), more) for n, more in (groups | self.heads).items()]
        return [
            {"name": name, "params": list(module.parameters()), **more}
            for name, module, more in found
            if module is not None
        ]

    def configure_optimizers(self) -> Any:
        return configure_optimizers(self, self.learnable_params)

    def log(self, name: str, value: Any, *args: Any, **kwargs: Any) -> None:
        """As Lightning's, and silent without a trainer: a step is a function one may just call."""
        if self._trainer is not None or self._fabric is not None:
            super().log(name, value, *args, **kwargs)

    def forward(self, X: Tensor) -> Out:
        """Backbone and online classifier.

        Args:
            X: ``(N, C, H, W)``.

        Returns:
            ``feats (N, F)`` and ``logits (N, classes)``; the classifier sends no gradient back.
        """
        feats = self.backbone(self._as_fast_layout(X))
        return {"logits": self.classifier(feats.detach()), "feats": feats}

    def multicrop_forward(self, X: Tensor) -> Out:
        """``feats`` of a small crop ``(N, C, h, w)``, without classifier."""
        return {"feats": self.backbone(self._as_fast_layout(X))}

    def base_training_step(self, X: Tensor, targets: Tensor) -> Out:
        """One view's forward pass, with loss and accuracy of the classifier."""
        return self._base_shared_step(X, targets)

    def base_validation_step(self, X: Tensor, targets: Tensor) -> Out:
        return self._base_shared_step(X, targets)

    def training_step(self, batch: Any, batch_idx: int) -> Any:
        """Forwards all views.

        Args:
            batch: ``[indexes (N,), [view_1, ..., view_V] each (N, C, H, W), targets (N,)]``,
                large crops first.
            batch_idx: index of the batch within the epoch.

        Returns:
            Lists per view (``feats``, ``logits``, ``z``, ...), and scalars: ``loss`` (the
            classifier's, mean over the large crops), ``acc1``, ``acc5``.

        Raises:
            ValueError: if the number of views is not the configured one.
        """
        _, X, targets = batch
        X = [X] if isinstance(X, Tensor) else X
        if len(X) != self.num_crops:
            raise ValueError(f"the batch has {len(X)} views: the method wants {self.num_crops}")
        large, small = X[: self.num_large_crops], X[self.num_large_crops :]
        out = _by_key([self.base_training_step(x, targets) for x in large])
        if self.multicrop:
            for key, values in _by_key([self.multicrop_forward(x) for x in small]).items():
                out.setdefault(key, []).extend(values)
        for key in ("loss", "acc1", "acc5"):
            out[key] = torch.stack(out[key]).mean()
        names = {"loss": "train_class_loss", "acc1": "train_acc1", "acc5": "train_acc5"}
        self.log_labelled({name: out[key] for key, name in names.items()}, targets)
        if self.knn_eval:
            feats = torch.cat(out["feats"][: self.num_large_crops])
            self.knn.update(
                train_features=feats, train_targets=targets.repeat(self.num_large_crops)
            )
        return out

    def validation_step(self, batch: Any, batch_idx: int) -> Out:
        """Classifier's loss and accuracy on ``batch = (X, targets)``, features for the k-NN."""
        X, targets = batch
        out = self.base_validation_step(X, targets)
        if self.knn_eval and not self._sanity_checking:
            self.knn.update(test_features=out["feats"], test_targets=targets)
        metrics = {f"val_{key}": out[key] for key in ("loss", "acc1", "acc5")}
        metrics["batch_size"] = (targets != UNLABELLED).sum()
        self.validation_step_outputs.append(metrics)
        return metrics

    def _base_shared_step(self, X: Tensor, targets: Tensor) -> Out:
        out: Out = self(X)
        return {**out, **class_metrics(out["logits"], targets)}

    def _as_fast_layout(self, X: Tensor) -> Tensor:
        return X if self.no_channel_last else X.to(memory_format=torch.channels_last)


def _by_key(outputs: list[Out]) -> Out:
    """List of dicts as a dict of lists."""
    return {key: [out[key] for out in outputs] for key in outputs[0]}

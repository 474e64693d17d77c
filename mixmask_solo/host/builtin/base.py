# SPDX-License-Identifier: MIT
"""What all methods share: backbone, online classifier, optimiser, validation.

Configuration keys, logged names and the ``state_dict`` are those of solo-learn 1.0.6.
"""

from typing import Any, ClassVar

import torch
from lightning.pytorch import LightningModule
from omegaconf import DictConfig
from torch import Tensor, nn

from mixmask_solo.host.builtin.backbones import build_backbone, features_dim
from mixmask_solo.host.builtin.defaults import METHOD, complete, require
from mixmask_solo.host.builtin.labelled import LabelledMeans, class_metrics
from mixmask_solo.host.builtin.online_knn import WeightedKNN
from mixmask_solo.host.builtin.optimization import configure_optimizers, read_options

Out = dict[str, Any]
_REQUIRED = ("max_epochs", "backbone.name", "data.dataset", "data.num_classes", "optimizer.name")


class BaseMethod(LabelledMeans, LightningModule):
    """Forwards views, trains the online classifier, validates; subclasses add their loss.

    Args:
        cfg: solo-learn's configuration after its derived values (``data.num_classes``,
            ``data.num_large_crops``, ...); never changed, ``self.cfg`` is a completed copy.
    """

    needs: ClassVar[tuple[str, ...]] = ()  # keys of ``method_kwargs`` that a method is built from
    heads: ClassVar[dict[str, dict[str, Any]]] = {}  # modules, with what their groups add
    defaults: ClassVar[dict[str, Any]] = METHOD  # of keys that the configuration leaves out

    def __init__(self, cfg: DictConfig) -> None:
        super().__init__()
        cfg = self.add_and_assert_specific_cfg(cfg)
        self.cfg = cfg
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
        return [
            {"name": name, "params": list(getattr(self, name).parameters()), **more}
            for name, more in (groups | self.heads).items()
            if getattr(self, name, None) is not None
        ]

    def configure_optimizers(self) -> Any:
        return configure_optimizers(self, self.learnable_params)

    def log(self, name: str, value: Any, *args: Any, **kwargs: Any) -> None:
        """As Lightning's, and silent without a trainer: a step is a function one may just call."""
        if self._trainer is not None or self._fabric is not None:
            super().log(name, value, *args, **kwargs)

    def forward(self, X: Tensor) -> Out:
        """``logits (N, classes)``, without gradient to the backbone, ``feats`` and projections."""
        out = self.multicrop_forward(X)
        return {"logits": self.classifier(out["feats"].detach()), **out}

    def multicrop_forward(self, X: Tensor) -> Out:
        """``feats (N, F)`` and projections of a crop ``(N, C, H, W)`` of any size."""
        feats = self.backbone(self._as_fast_layout(X))
        return {"feats": feats, **self.project(feats)}

    def project(self, feats: Tensor) -> Out:
        """What a method's heads make of ``feats (N, F)``: ``z (N, D)``, ``p (N, D)``."""
        return {}

    def base_training_step(self, X: Tensor, targets: Tensor) -> Out:
        """One view's forward pass, with loss and accuracy of the classifier."""
        return self._base_shared_step(X, targets)

    def base_validation_step(self, X: Tensor, targets: Tensor) -> Out:
        return self._base_shared_step(X, targets)

    def training_step(self, batch: Any, batch_idx: int) -> Any:
        """Forwards all views of ``batch``: indexes ``(N,)``, views, targets ``(N,)``.

        The views are ``(N, C, H, W)`` each, large crops first.

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
        views = [self.base_training_step(x, targets) for x in large]
        views += [self.multicrop_forward(x) for x in small]
        out: Out = {key: [view[key] for view in views if key in view] for key in views[0]}
        self._log_classifier(out, targets)
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
        return self.collect_validation(out, targets)

    def _base_shared_step(self, X: Tensor, targets: Tensor) -> Out:
        out: Out = self(X)
        return {**out, **class_metrics(out["logits"], targets)}

    def _log_classifier(self, out: Out, targets: Tensor, prefix: str = "") -> None:
        """Logs a step's means over the large crops, which replace the lists in ``out``."""
        logged = {}
        for key, name in {"loss": "class_loss", "acc1": "acc1", "acc5": "acc5"}.items():
            out[prefix + key] = torch.stack(out[prefix + key]).mean()
            logged[f"train_{prefix}{name}"] = out[prefix + key]
        self.log_labelled(logged, targets)

    def _as_fast_layout(self, X: Tensor) -> Tensor:
        return X if self.no_channel_last else X.to(memory_format=torch.channels_last)

# SPDX-License-Identifier: MIT
"""What a method or a probe logs of its classifier: means over labelled images, of all processes."""

from __future__ import annotations

import math
from typing import TYPE_CHECKING, Any

import torch
from torch import Tensor

from mixmask_solo.host.builtin.metrics import labelled_means, over_processes
from mixmask_solo.host.knn import UNLABELLED

if TYPE_CHECKING:
    from lightning.pytorch import LightningModule as _Module
else:
    _Module = object

__all__ = ["LabelledMeans"]


class LabelledMeans(_Module):
    """An image without a label counts in no mean, a batch without any is not logged."""

    knn: Any
    knn_eval = False
    labels_of_others = "some"  # of data modules that do not tell
    validation_step_outputs: list[dict[str, Any]]

    @property
    def train_labels(self) -> str:
        """Whether ``all``, ``some`` or ``none`` of the training images have a label.

        The data module tells. Without a trainer nothing is logged.
        """
        if self._trainer is None:
            return "all"
        data = getattr(self.trainer, "datamodule", None)
        return str(getattr(data, "train_labels", self.labels_of_others))

    def log_labelled(self, metrics: dict[str, Tensor], targets: Tensor) -> None:
        """Logs a training step's means over its labelled images.

        Where only some images have a label this waits for the device: what no image of a batch
        has a share in must not be logged.

        Args:
            metrics: means over the labelled images of this process' batch.
            targets: ``(N,)`` int64, -1 without label.
        """
        count = len(targets)
        if self.train_labels == "none":
            return
        if self.train_labels == "some":
            mine = (targets != UNLABELLED).sum()
            values = torch.stack([value.detach().reshape(()) for value in metrics.values()])
            total = over_processes(torch.cat([values * mine, mine[None]]))
            count = int(total[-1])
            metrics = dict(zip(metrics, total[:-1] / max(1, count), strict=True))
        if count:
            self.log_dict(metrics, on_epoch=True, sync_dist=True, batch_size=count)

    def log_validation(self) -> None:
        """Logs the means over all validation images, and the k-NN's accuracy."""
        names = ["val_loss", "val_acc1", "val_acc5"]
        if getattr(self, "momentum_classifier", None) is not None:
            names += [f"momentum_{name}" for name in names]
        log: dict[str, Any] = labelled_means(self.validation_step_outputs, names, self.device)
        if self.knn_eval and not self._sanity_checking:
            found = self.knn.compute()
            if not math.isnan(found.top1):
                log |= {"val_knn_acc1": found.top1, "val_knn_acc5": found.top5}
        self.log_dict(log, sync_dist=True)
        self.validation_step_outputs.clear()

    @property
    def _sanity_checking(self) -> bool:
        return self._trainer is not None and bool(self._trainer.sanity_checking)

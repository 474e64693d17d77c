# SPDX-License-Identifier: MIT
"""Loss and accuracy of a linear classifier over labelled images, of all processes.

An image without a label, target -1, counts in no mean; a batch without any is not logged.
"""

import math
from collections.abc import Mapping, Sequence
from typing import Any

import torch
import torch.distributed as dist
import torch.nn.functional as F
from torch import Tensor

from mixmask_solo.host.knn import UNLABELLED
from mixmask_solo.objectives import full_precision
from mixmask_solo.objectives.distributed import world_size

_Module: Any = object  # stands for either host's


@full_precision
def class_metrics(logits: Tensor, targets: Tensor) -> dict[str, Tensor]:
    """``loss``, ``acc1`` and ``acc5``: means over the labelled samples, 0 if there is none.

    Args:
        logits: ``(N, C)``; with fewer than five classes ``acc5`` looks at all.
        targets: ``(N,)`` int64.

    Returns:
        Cross entropy and percentages, scalars; nothing waits for the device.
    """
    count = (targets != UNLABELLED).sum().clamp_min(1)
    total = F.cross_entropy(logits, targets, ignore_index=UNLABELLED, reduction="sum")
    hits = logits.detach().topk(min(5, logits.shape[1]), dim=1).indices == targets.unsqueeze(1)
    acc1, acc5 = (hits[:, :k].sum() * 100.0 / count for k in (1, 5))
    return {"loss": total / count, "acc1": acc1, "acc5": acc5}


@full_precision
def mixed_loss(logits: Tensor, targets: Tensor) -> Tensor:
    """Mean cross entropy of ``logits (N, C)`` to ``targets (N, C)``, a share of every class."""
    return F.cross_entropy(logits, targets)


def labelled_means(
    outputs: Sequence[Mapping[str, Any]], names: Sequence[str], device: torch.device
) -> tuple[dict[str, Tensor], int]:
    """Means over the labelled images of all batches and processes.

    Args:
        outputs: of each batch of this process ``batch_size``, its labelled images, and their mean
            under each of ``names``; may be empty.
        device: of the results.

    Returns:
        By name, and the number of labelled images; empty and 0 where no process has one.
    """
    sums = torch.zeros(len(names) + 1, dtype=torch.float64, device=device)
    for out in outputs:
        row = [torch.as_tensor(v, device=device).reshape(()) for v in (*map(out.get, names), 1)]
        sums += torch.stack([value.double() for value in row]) * out["batch_size"]
    if world_size() > 1:
        dist.all_reduce(sums)
    count = int(sums[-1])
    if not count:
        return {}, 0
    means = (sums[:-1] / count).to(torch.get_default_dtype())
    return dict(zip(names, means, strict=True)), count


class LabelledMeans(_Module):
    """What a method or a probe logs of its classifier."""

    knn: Any
    knn_eval = False
    labels_of_others = "some"  # of data modules that do not tell
    validation_step_outputs: list[dict[str, Any]]

    @property
    def train_labels(self) -> str:
        """Whether ``all``, ``some`` or ``none`` of the training images have a label."""
        if self._trainer is None:
            return "all"
        data = getattr(self.trainer, "datamodule", None)
        return str(getattr(data, "train_labels", self.labels_of_others))

    def log_labelled(self, metrics: dict[str, Tensor], targets: Tensor) -> None:
        """Logs ``metrics``, a step's means over the labelled images of this process' batch.

        Where only some images have a label this waits for the device, to see whether any of this
        batch has one by ``targets`` ``(N,)``.
        """
        count = len(targets)
        if self.train_labels == "none":
            return
        if self.train_labels == "some":
            mine = {name: value.detach() for name, value in metrics.items()}
            mine["batch_size"] = (targets != UNLABELLED).sum()
            metrics, count = labelled_means([mine], list(metrics), targets.device)
        if count:
            self.log_dict(metrics, on_epoch=True, sync_dist=True, batch_size=count)

    def collect_validation(self, metrics: dict[str, Tensor], targets: Tensor) -> dict[str, Any]:
        """Keeps a batch's figures until the end of the epoch; returns the very dict it keeps."""
        kept: dict[str, Any] = {f"val_{key}": metrics[key] for key in ("loss", "acc1", "acc5")}
        kept["batch_size"] = (targets != UNLABELLED).sum()
        self.validation_step_outputs.append(kept)
        return kept

    def on_validation_epoch_end(self) -> None:
        """Logs the means over all validation images, and the k-NN's accuracy."""
        names = ["val_loss", "val_acc1", "val_acc5"]
        if getattr(self, "momentum_classifier", None) is not None:
            names += [f"momentum_{name}" for name in names]
        means, _ = labelled_means(self.validation_step_outputs, names, self.device)
        log: dict[str, Any] = {**means}
        if self.knn_eval and not self._sanity_checking:
            found = self.knn.compute()
            if not math.isnan(found.top1):
                log |= {"val_knn_acc1": found.top1, "val_knn_acc5": found.top5}
        self.log_dict(log, sync_dist=True)
        self.validation_step_outputs.clear()

    @property
    def _sanity_checking(self) -> bool:
        return self._trainer is not None and bool(self._trainer.sanity_checking)

# SPDX-License-Identifier: MIT
"""What the online k-NN of a host compares: the backbone's features, or the projector's output."""

from typing import Any

import torch
from omegaconf import OmegaConf
from torch import Tensor

_Host: Any = object  # stands for either host's

FEATURES = ("backbone", "projector")
_KEY = "knn_eval.features"


class OnlineKNN(_Host):
    """``knn_eval.features: projector`` on either host; stands under the strategies (build.py).

    Both hosts hand ``feats`` to their k-NN: of the large crops in their training step, and of
    what ``base_validation_step`` returns. Here the training step runs as if there was no k-NN,
    which is then given ``feats`` or, with ``projector``, ``z``.

    Raises:
        ValueError: for another value.
    """

    knn_eval: bool

    def __init__(self, cfg: Any) -> None:
        super().__init__(cfg)
        features = OmegaConf.select(self.cfg, _KEY, default=FEATURES[0])
        if features not in FEATURES:
            raise ValueError(f"{_KEY} is {features!r}: choose {' or '.join(FEATURES)}")
        self._knn_on_z = features == "projector"

    def training_step(self, batch: Any, batch_idx: int) -> Any:
        """The host's, and features of the large crops for the k-NN."""
        if not self.knn_eval:
            return super().training_step(batch, batch_idx)
        self.knn_eval = False
        try:
            out: Any = super().training_step(batch, batch_idx)
        finally:
            self.knn_eval = True
        features = out["z" if self._knn_on_z else "feats"][: self.num_large_crops]
        found, labels = torch.cat(features), batch[2].repeat(len(features))
        told = self._trainer is not None and getattr(self, "train_labels", "some") == "all"
        if not told:  # to look for labels waits for the device
            keep = labels != -1
            found, labels = found[keep], labels[keep]
        self.knn.update(train_features=found, train_targets=labels)
        return out

    def base_validation_step(self, X: Tensor, targets: Tensor) -> dict[str, Any]:
        """The host's; ``feats`` is what its k-NN compares."""
        out = super().base_validation_step(X, targets)
        return {**out, "feats": out["z"]} if self._knn_on_z and self.knn_eval else out

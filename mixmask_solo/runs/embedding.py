# SPDX-License-Identifier: MIT
"""How the embedding does while it is trained: its spread, and on request its health."""

from collections import deque
from typing import Any

import torch
from lightning.pytorch import LightningModule, Trainer
from torch import Tensor

from mixmask_solo.evaluation.health import alignment, embedding_std, rankme, uniformity
from mixmask_solo.objectives import gather_keys
from mixmask_solo.runs.epoch_state import PartOfEpoch

Pair = tuple[Tensor, Tensor]


class EmbeddingHealth(PartOfEpoch):
    """Logs figures of z as the step has it: of the first large view, and of its positive.

    ``train_embedding_std`` of every so many batches, local to the process. Where embeddings are
    kept, at the end of an epoch ``train_embedding_rank``, ``train_embedding_uniformity`` (of the
    first view) and ``train_embedding_alignment`` of the last ones of all processes. No step waits
    for the device. The network changes from batch to batch and sees augmented views in training
    mode, so these are not the figures that ``mixmask-health`` finds of a checkpoint.

    Args:
        every: batches from one spread to the next.
        images: of the end of an epoch whose embeddings are kept, over all processes; 0 for none.
            Whole batches, so at least one.
    """

    def __init__(self, every: int = 10, images: int = 0) -> None:
        self.every = every
        self.images = images
        self._kept: deque[Pair] = deque()
        self._rows = 0

    def on_train_batch_end(
        self, trainer: Trainer, module: LightningModule, outputs: Any, batch: Any, batch_idx: int
    ) -> None:
        pair: Pair | None = getattr(module, "embedded", None)
        if pair is None:
            return
        if batch_idx % self.every == 0:
            std = embedding_std(pair[0])
            module.log("train_embedding_std", std, on_step=True, on_epoch=True)
        if self.images:
            self._keep(pair, self.images / trainer.world_size)

    def on_train_epoch_end(self, trainer: Trainer, pl_module: LightningModule) -> None:
        """Of the embeddings of all processes, so that all of them log the same."""
        if not self._kept:
            return
        x, y = (gather_keys(torch.cat(views)) for views in zip(*self._kept, strict=True))
        self._forget()
        # A loss that is not finite ends the run a little later, and says where it stopped being so.
        if len(x) > 1 and bool(x.isfinite().all()):
            found = {"rank": rankme(x), "uniformity": uniformity(x), "alignment": alignment(x, y)}
            pl_module.log_dict({f"train_embedding_{name}": v for name, v in found.items()})

    def _keep(self, pair: Pair, most: float) -> None:
        self._kept.append(pair)
        self._rows += len(pair[0])
        while self._rows - len(self._kept[0][0]) >= most:
            self._rows -= len(self._kept.popleft()[0])

    def _forget(self) -> None:
        self._kept.clear()
        self._rows = 0

    def part(self) -> Any:
        """The pairs that are kept, on the CPU."""
        return [tuple(z.cpu() for z in pair) for pair in self._kept]

    def take(self, part: Any, device: torch.device) -> None:
        self._forget()
        for x, y in part if self.images else ():
            self._keep((x.to(device), y.to(device)), float("inf"))

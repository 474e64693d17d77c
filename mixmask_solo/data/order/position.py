# SPDX-License-Identifier: MIT
"""Where in the training a Lightning trainer stands when it asks for batches."""

from __future__ import annotations

from typing import Any

from lightning.pytorch import Trainer

__all__ = ["position"]


def position(trainer: Trainer) -> tuple[int, int]:
    """Epoch, and number of its batches that were trained on already.

    Asked when the first batch is due. By then the counters are restored, but not in all cases put
    in order, so all states a checkpoint can leave them in have to be read here:

    * between epochs (saved at the end of one): the batch counter still belongs to the old epoch;
    * within an epoch: ``processed`` counts the batches whose optimiser step is done;
    * after the last batch of an epoch but before its end: Lightning goes on with the next epoch.
    """
    loop: Any = trainer.fit_loop
    epoch = loop.epoch_progress.current
    batch = loop.epoch_loop.batch_progress
    if epoch.ready == epoch.processed:
        return epoch.processed, 0
    done = batch.current.processed
    if 0 < loop.max_batches <= done:
        return epoch.processed + 1, 0
    return epoch.processed, done

# SPDX-License-Identifier: MIT
"""A run on DALI's batches that stops and goes on sees those of one that never stopped."""

from __future__ import annotations

import lightning.pytorch as pl
import pytest
import torch

from mixmask_solo.data import build_pretrain


class Stop(Exception):
    pass


class Recorder(pl.LightningModule):
    """Notes each batch; saves and stops before the one it is told."""

    def __init__(self, stop=None, path=None):
        super().__init__()
        self.weight = torch.nn.Parameter(torch.zeros(1))
        self.seen = []
        self.stop, self.path = stop, path

    def on_train_batch_start(self, batch, batch_idx):
        if (self.current_epoch, batch_idx) == self.stop:
            self.trainer.save_checkpoint(self.path)
            raise Stop

    def training_step(self, batch, batch_idx):
        indexes, views, _ = batch
        self.seen.append((self.current_epoch, batch_idx, indexes.tolist(), views[1].sum().item()))
        return (self.weight * 0).sum()

    def configure_optimizers(self):
        return torch.optim.SGD(self.parameters(), lr=0.1)


@pytest.fixture
def train(photos, dali_cfg, tmp_path):
    path = photos(13)

    def run(model, workers, ckpt=None):
        data = build_pretrain(dali_cfg(path, 3, {"num_workers": workers}))
        trainer = pl.Trainer(
            max_epochs=3,
            accelerator="cpu",
            devices=1,
            logger=False,
            enable_checkpointing=False,
            enable_progress_bar=False,
            enable_model_summary=False,
            use_distributed_sampler=False,
            default_root_dir=tmp_path,
        )
        trainer.fit(model, datamodule=data, ckpt_path=ckpt)
        return model.seen

    return run


@pytest.mark.parametrize(("stop", "workers"), [((1, 2), 0), ((1, 0), 0), ((2, 1), 1)])
def test_a_resumed_run_goes_on_with_the_next_batch(train, tmp_path, stop, workers):
    whole = train(Recorder(), 0)
    assert [(e, b) for e, b, *_ in whole] == [(e, b) for e in range(3) for b in range(4)]
    first = Recorder(stop, tmp_path / "stopped.ckpt")
    with pytest.raises(Stop):
        train(first, workers)
    assert first.seen + train(Recorder(), workers, tmp_path / "stopped.ckpt") == whole

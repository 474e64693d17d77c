# SPDX-License-Identifier: MIT
"""A run that stops and goes on sees the very batches of one that never stopped."""

from __future__ import annotations

import warnings

import lightning
import lightning.pytorch as pl
import pytest
import torch

from mixmask_solo.data import build_pretrain

EPOCHS, BATCHES = 3, 6


class Stop(Exception):
    pass


class Recorder(pl.LightningModule):
    """Notes the images of each batch whose step is done, and may stop on the way."""

    def __init__(self, stop=None, hook="on_train_batch_start", path=None):
        super().__init__()
        self.weight = torch.nn.Parameter(torch.zeros(1))
        self.seen = []
        self.stop, self.hook, self.path = stop, hook, path

    def training_step(self, batch, batch_idx):
        indexes, views, _ = batch
        self.seen.append((self.current_epoch, batch_idx, indexes.tolist(), views[1].sum().item()))
        return (self.weight * 0).sum()

    def validation_step(self, batch, batch_idx):
        pass

    def configure_optimizers(self):
        return torch.optim.SGD(self.parameters(), lr=0.1)

    def _maybe_stop(self, hook, batch_idx):
        if (hook, self.current_epoch, batch_idx) == (self.hook, *(self.stop or ())):
            self.trainer.save_checkpoint(self.path)
            raise Stop

    def on_train_batch_start(self, batch, batch_idx):
        self._maybe_stop("on_train_batch_start", batch_idx)

    def on_train_batch_end(self, outputs, batch, batch_idx):
        self._maybe_stop("on_train_batch_end", batch_idx)

    def on_validation_end(self):
        self._maybe_stop("on_validation_end", 0)

    def on_train_epoch_end(self):
        self._maybe_stop("on_train_epoch_end", 0)


def train(model, views_cfg, tmp_path, ckpt=None, workers=0, **kwargs):
    block = {"dataset": "digits", "fraction": 0.05, "num_workers": workers}
    data = build_pretrain(views_cfg(block, 12))
    trainer = pl.Trainer(
        max_epochs=EPOCHS,
        accelerator="cpu",
        devices=1,
        logger=False,
        enable_checkpointing=False,
        enable_progress_bar=False,
        enable_model_summary=False,
        use_distributed_sampler=False,
        num_sanity_val_steps=0,
        default_root_dir=tmp_path,
        **kwargs,
    )
    with warnings.catch_warnings():
        warnings.filterwarnings("error", message=".*dataloader is not resumable.*")
        trainer.fit(model, datamodule=data, ckpt_path=ckpt)
    return model


@pytest.fixture(scope="module")
def whole():
    return {}


@pytest.fixture
def uninterrupted(whole, views_cfg, tmp_path):
    if not whole:
        whole["seen"] = train(Recorder(), views_cfg, tmp_path).seen
    return whole["seen"]


def resume(stop, hook, views_cfg, tmp_path, **kwargs):
    path = tmp_path / "stopped.ckpt"
    first = Recorder(stop, hook, path)
    with pytest.raises(Stop):
        train(first, views_cfg, tmp_path, **kwargs)
    second = train(Recorder(), views_cfg, tmp_path, ckpt=path, **kwargs)
    return first.seen + second.seen


def test_every_epoch_has_all_its_batches_and_its_own_order(uninterrupted):
    assert [(e, b) for e, b, *_ in uninterrupted] == [
        (e, b) for e in range(EPOCHS) for b in range(BATCHES)
    ]
    orders = [[i for s in uninterrupted if s[0] == e for i in s[2]] for e in range(EPOCHS)]
    assert all(len(set(order)) == len(order) == 72 for order in orders)
    assert orders[0] != orders[1] != orders[2]


def at_batch_end(*values):
    """Where this package never saves: Lightning 2.1 has not counted the batch by then."""
    old = tuple(int(part) for part in lightning.__version__.split(".")[:2]) < (2, 6)
    reason = "older Lightning saves this counter one short; 2.6 is the one checked"
    return pytest.param(*values, marks=pytest.mark.xfail(old, reason=reason, strict=False))


@pytest.mark.parametrize(
    ("hook", "stop"),
    [
        ("on_train_batch_start", (1, 3)),
        ("on_train_batch_start", (0, 1)),
        ("on_train_batch_start", (1, 0)),
        ("on_train_batch_start", (1, BATCHES - 1)),
        at_batch_end("on_train_batch_end", (1, 2)),
        at_batch_end("on_train_batch_end", (0, 0)),
        at_batch_end("on_train_batch_end", (1, BATCHES - 1)),
        ("on_validation_end", (1, 0)),
        ("on_train_epoch_end", (0, 0)),
        ("on_train_epoch_end", (1, 0)),
    ],
)
def test_a_resumed_run_goes_on_with_the_next_batch(hook, stop, uninterrupted, views_cfg, tmp_path):
    assert resume(stop, hook, views_cfg, tmp_path) == uninterrupted


def test_workers_that_outlive_an_epoch_go_on_as_well(uninterrupted, views_cfg, tmp_path):
    seen = resume((1, 3), "on_train_batch_start", views_cfg, tmp_path, workers=1)
    assert seen == uninterrupted


def test_a_limited_epoch_ends_where_it_is_cut(uninterrupted, views_cfg, tmp_path):
    seen = resume((1, 1), "on_train_batch_start", views_cfg, tmp_path, limit_train_batches=2)
    assert seen == [s for s in uninterrupted if s[1] < 2]

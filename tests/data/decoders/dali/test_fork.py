# SPDX-License-Identifier: MIT
"""Processes forked where DALI runs leave its pipelines alone: destroying one waits for threads
that such a process does not have."""

from __future__ import annotations

import gc
import subprocess
import sys
import weakref

import pytest
from torch.utils.data import DataLoader, Dataset

from mixmask_solo.data import build_pretrain
from mixmask_solo.data.decoders.dali import forks
from mixmask_solo.data.decoders.dali.pipelines import parts

SECONDS = 60  # in which a forked process has to answer, on a busy machine too


@pytest.fixture
def kept(photos, dali_cfg, ahead):
    """A list that alone holds a loader whose pipelines wait for their next epoch."""
    loader = ahead(build_pretrain(dali_cfg(photos(8), 2)), "cpu")
    list(loader)
    assert loader.make._built
    return [loader]


class Dropping(Dataset[int]):
    """Drops what its process holds, and has what became garbage collected."""

    def __init__(self, kept):
        self.kept = kept

    def __len__(self):
        return 2

    def __getitem__(self, index):
        self.kept.clear()
        gc.collect()
        return index


def numbers_of(dataset):
    """Two batches from a worker that is forked here and now."""
    loader = DataLoader(
        dataset, num_workers=1, multiprocessing_context="fork", timeout=SECONDS, batch_size=1
    )
    iterator = iter(loader)
    try:
        return [int(batch) for batch in iterator]
    finally:
        iterator._shutdown_workers()  # ends one that hangs, too


def test_a_worker_that_drops_a_living_pipeline(kept):
    [alive] = map(weakref.ref, kept[0].make._built[:1])
    assert numbers_of(Dropping(kept)) == [0, 1]
    assert alive() is not None
    list(kept[0])  # the owner's go on
    kept.clear()
    gc.collect()
    assert alive() is None  # and end where they belong


def test_a_worker_that_collects_a_pipeline_in_a_cycle(kept):
    gc.disable()  # the garbage has to be there when the worker is forked
    try:
        cycle = [kept.pop()]
        alive = weakref.ref(cycle[0].make._built[0])
        cycle.append(cycle)
        del cycle
        assert numbers_of(Dropping([])) == [0, 1]
        assert alive() is not None
        gc.collect()
        assert alive() is None
    finally:
        gc.enable()


def test_a_worker_that_drops_a_decoder_of_parts(dali_cfg):
    assert numbers_of(Dropping([parts(2)])) == [0, 1]


def test_workers_that_decode_start_clean_where_dali_runs(photos, dali_cfg, monkeypatch):
    monkeypatch.setattr(forks, "_built_in", set())
    loader = build_pretrain(dali_cfg(photos(4), 2, {"num_workers": 1})).train_dataloader()
    parts(2)  # after the loader was made, before its workers start
    assert len(list(loader)) == 2
    assert loader.multiprocessing_context.get_start_method() == "forkserver"


FORKED = f"""
import gc, os, signal, sys
os.register_at_fork(after_in_child=gc.collect)  # before what is registered later
gc.disable()
from mixmask_solo.data.decoders.dali.pipelines import parts
pipeline, cycle = parts(2), [parts(2)]
cycle.append(cycle)
del cycle
child = os.fork()
if not child:
    del pipeline
    sys.exit()
signal.signal(signal.SIGALRM, lambda *_: os.kill(child, signal.SIGKILL))
signal.alarm({2 * SECONDS})  # to end takes it 3 s of CPU time
sys.exit(os.waitpid(child, 0)[1] != 0)
"""


def test_a_forked_process_that_collects_at_once_and_ends_as_any_other(dali_cfg):
    subprocess.run([sys.executable, "-c", FORKED], check=True)

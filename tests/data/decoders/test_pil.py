# SPDX-License-Identifier: MIT
from __future__ import annotations

from types import SimpleNamespace

import numpy as np
import pytest
import torch
from torchvision.transforms import functional as F

from mixmask_solo.config import ConfigError
from mixmask_solo.config.datasets import DATASETS
from mixmask_solo.data import ImageError, build_classification, build_pretrain, source

DIGITS = {"dataset": "digits"}
FEW = DIGITS | {"fraction": 0.1}


def epoch(data, number=0):
    loader = data.train_dataloader()
    loader.batches.set_epoch(number)
    return list(loader)


def equal(a, b):
    return all(
        torch.equal(x[0], y[0])
        and all(torch.equal(v, w) for v, w in zip(x[1], y[1], strict=True))
        and torch.equal(x[2], y[2])
        for x, y in zip(a, b, strict=True)
    )


@pytest.mark.parametrize("form", ["image_folder", "resident"])
def test_the_last_batch_is_dropped_or_padded(views_cfg, form):
    for setting, expected in (("drop", lambda n: n // 32), ("pad", lambda n: -(-n // 32))):
        cfg = views_cfg(DIGITS | {"format": form, "last_batch": setting}, 32)
        loader = build_pretrain(cfg).train_dataloader()
        indexes = [int(i) for batch in loader for i in batch[0]]
        assert len(loader) == expected(1442)
        assert len(indexes) == 32 * len(loader)
        assert len(set(indexes)) == min(1442, len(indexes))


def test_a_batch_is_indexes_views_targets(views_cfg):
    cfg = views_cfg(DIGITS, 16)
    cfg["augmentations"].append({"pipeline": "glyphs", "crop_size": 6, "num_crops": 1})
    data = build_pretrain(cfg)
    indexes, views, targets = next(iter(data.train_dataloader()))
    assert indexes.shape == targets.shape == (16,)
    assert [v.shape for v in views] == [(16, 3, 8, 8), (16, 3, 8, 8), (16, 3, 6, 6)]
    assert {v.dtype for v in views} == {torch.float32}
    assert np.array_equal(targets, data.train_source.labels[indexes])
    assert not torch.equal(views[0], views[1])


@pytest.mark.parametrize("workers", [1, 2])
def test_views_do_not_depend_on_the_workers(views_cfg, workers):
    alone = build_pretrain(views_cfg(FEW, 32))
    helped = build_pretrain(views_cfg(FEW | {"num_workers": workers}, 32))
    loader = helped.train_dataloader()
    for number in (0, 1):  # the same workers serve both epochs
        loader.batches.set_epoch(number)
        assert equal(list(loader), epoch(alone, number))


def test_views_depend_on_seed_epoch_index_and_view_alone(views_cfg):
    data = build_pretrain(views_cfg(DIGITS))
    samples = data.train_dataloader().dataset
    one = samples[(3, 10)]
    torch.manual_seed(99)
    again = samples[(3, 10)]
    assert all(torch.equal(a, b) for a, b in zip(one[1], again[1], strict=True))
    for other in (samples[(4, 10)], samples[(3, 11)]):
        assert not torch.equal(one[1][0], other[1][0])
    assert not torch.equal(one[1][0], one[1][1])
    # a further view leaves the others as they are
    more = build_pretrain(views_cfg(DIGITS, num_crops=3)).train_dataloader().dataset[(3, 10)]
    assert all(torch.equal(a, b) for a, b in zip(one[1], more[1], strict=False))


@pytest.fixture
def as_rank():
    """Lets a data module believe that it is one of two processes."""

    def assign(data, rank):
        progress = SimpleNamespace(ready=0, processed=0)
        batches = SimpleNamespace(current=progress)
        loop = SimpleNamespace(
            epoch_progress=SimpleNamespace(current=progress),
            epoch_loop=SimpleNamespace(batch_progress=batches),
        )
        data.trainer = SimpleNamespace(global_rank=rank, world_size=2, num_devices=2, fit_loop=loop)
        return data

    return assign


def test_two_processes_share_an_epoch_and_the_validation(views_cfg, as_rank):
    ranks = [as_rank(build_pretrain(views_cfg(FEW, 10)), r) for r in (0, 1)]
    seen = [i for data in ranks for batch in data.train_dataloader() for i in batch[0].tolist()]
    assert len(set(seen)) == len(seen) == 140
    labels = [torch.cat([y for _, y in data.val_dataloader()]) for data in ranks]
    whole = torch.from_numpy(ranks[0].val_source.labels)
    assert torch.equal(labels[0], whole[0::2])
    assert torch.equal(labels[1], whole[1::2])


def test_too_large_a_batch_for_all_processes_together(views_cfg, as_rank):
    data = as_rank(build_pretrain(views_cfg(DIGITS, 1000)), 0)
    with pytest.raises(ConfigError, match=r"1000 in each of 2 processes.*give at most 721"):
        data.train_dataloader()


def test_loading_leaves_the_global_generators_alone(views_cfg):
    for data in (
        build_pretrain(views_cfg(DIGITS, 64)),
        build_classification(views_cfg(DIGITS, 64)),
    ):
        state = torch.get_rng_state()
        next(iter(data.train_dataloader()))
        next(iter(data.val_dataloader()))
        assert torch.equal(torch.get_rng_state(), state)


def test_each_image_is_decoded_once_for_all_views(views_cfg, monkeypatch):
    data = build_pretrain(views_cfg(DIGITS, 8, num_crops=4))
    data.setup()
    decoded = []
    image = data.train_source.image
    monkeypatch.setattr(data.train_source, "image", lambda i: decoded.append(i) or image(i))
    indexes, *_ = next(iter(data.train_dataloader()))
    assert decoded == indexes.tolist()


def test_validation_is_the_whole_split_in_order_without_augmentation(views_cfg):
    data = build_pretrain(views_cfg(DIGITS, 100, crop_size=8))
    batches = list(data.val_dataloader())
    assert [len(y) for _, y in batches] == [100, 100, 100, 55]
    val = source({"data": DIGITS}, "val")
    assert torch.cat([y for _, y in batches]).tolist() == val.labels.tolist()
    facts = DATASETS["digits"]
    expected = F.normalize(F.to_tensor(val.image(3)), facts.mean, facts.std)
    assert torch.equal(batches[0][0][3], expected)


def test_without_validation_images_there_is_no_loader(tmp_path, class_folders, views_cfg):
    class_folders(tmp_path, {"a": 4, "b": 4})
    data = build_pretrain(views_cfg({"dataset": "custom", "train_path": str(tmp_path)}))
    assert data.val_dataloader() == []
    assert data.num_classes == 2
    with pytest.raises(ConfigError, match=r"data\.val_path is missing"):
        data.features_dataloaders()


def test_images_without_labels(tmp_path, picture, views_cfg):
    for i in range(5):
        picture(i).save(tmp_path / f"{i}.png")
    block = {"dataset": "custom", "train_path": str(tmp_path), "no_labels": True}
    data = build_pretrain(views_cfg(block))
    _, _, targets = next(iter(data.train_dataloader()))
    assert targets.tolist() == [-1] * 4
    assert data.num_classes == 1
    assert data.val_dataloader() == []


def test_a_probe_trains_on_crops_and_reads_features_of_all_images(views_cfg):
    data = build_classification(views_cfg(DIGITS, 128))
    x, y = next(iter(data.train_dataloader()))
    assert (x.shape, y.shape) == ((128, 3, 8, 8), (128,))
    assert len(data.train_dataloader()) == 1442 // 128
    train, val = data.features_dataloaders()
    labels = torch.cat([y for _, y in train])
    assert labels.tolist() == data.train_source.labels.tolist()
    assert sum(len(y) for _, y in val) == 355


def test_a_probe_takes_its_own_size_before_that_of_pretraining(views_cfg):
    cfg = views_cfg(DIGITS, mean=[0.1, 0.2, 0.3], std=[1.0, 1.0, 1.0])
    assert build_classification(cfg).task.still.crop_size == 8
    assert build_classification(cfg).task.still.mean == (0.1, 0.2, 0.3)
    own = cfg | {"data": cfg["data"] | {"augmentations": {"crop_size": 16, "mean": None}}}
    assert build_classification(own).task.still.crop_size == 16
    del cfg["augmentations"]
    assert build_classification(cfg).task.still.crop_size == 32
    assert build_classification(cfg).task.still.std == DATASETS["digits"].std


def test_features_serve_both_kinds(views_cfg):
    pretrain = build_pretrain(views_cfg(DIGITS, 200)).features_dataloaders()
    probe = build_classification(views_cfg(DIGITS, 200)).features_dataloaders()
    for a, b in zip(pretrain, probe, strict=True):
        assert torch.equal(next(iter(a))[0], next(iter(b))[0])


def test_real_decoding_of_photographs(real_data, views_cfg):
    folder = str(real_data / "imagenet-sample")
    block = {"dataset": "imagenet", "train_path": folder, "val_path": folder}
    data = build_pretrain(views_cfg(block, 8, crop_size=64))
    _, views, _ = next(iter(data.train_dataloader()))
    assert views[0].shape == (8, 3, 64, 64)
    x, _ = next(iter(data.val_dataloader()))
    assert x.shape == (8, 3, 64, 64)
    assert 0.5 < x.std() < 2


@pytest.mark.parametrize("workers", [0, 1])
def test_a_damaged_image_is_named(tmp_path, class_folders, views_cfg, workers):
    class_folders(tmp_path, {"a": 4})
    (tmp_path / "a" / "a_2.png").write_bytes(b"damaged")
    block = {"dataset": "custom", "train_path": str(tmp_path), "num_workers": workers}
    with pytest.raises(ImageError, match=r"a_2\.png cannot be decoded"):
        next(iter(build_pretrain(views_cfg(block)).train_dataloader()))


def test_more_images_in_a_batch_than_there_are(views_cfg):
    data = build_pretrain(views_cfg(DIGITS, 2000))
    with pytest.raises(ConfigError, match=r"batch_size is 2000.* only 1442 training images"):
        data.train_dataloader()


@pytest.mark.parametrize("batch_size", [None, 0, "many", 1.5])
def test_impossible_batch_sizes(views_cfg, batch_size):
    with pytest.raises(ConfigError, match=r"optimizer\.batch_size is"):
        build_pretrain(views_cfg(DIGITS, batch_size))

# SPDX-License-Identifier: MIT
"""The decoder as a whole: batches, order, ranks, workers, damage, memory."""

from __future__ import annotations

import shutil
from collections import Counter
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest
import torch
from PIL import Image

from mixmask_solo.config import ConfigError
from mixmask_solo.data import ImageError, build_classification, build_pretrain
from mixmask_solo.data.decoders.resident import memory
from mixmask_solo.data.decoders.resident.decoder import Augmented, Resident

DIGITS = {"dataset": "digits", "format": "resident"}
FEW = DIGITS | {"fraction": 0.1}


@pytest.fixture
def as_rank():
    """Lets a data module believe that it is one of two processes."""

    def assign(data, rank, epoch=0, done=0):
        counter = SimpleNamespace(ready=epoch, processed=epoch)
        batches = SimpleNamespace(current=SimpleNamespace(ready=done, processed=done))
        if done:
            counter.ready += 1
        loop = SimpleNamespace(
            epoch_progress=SimpleNamespace(current=counter),
            epoch_loop=SimpleNamespace(batch_progress=batches),
            max_batches=7,
        )
        data.trainer = SimpleNamespace(global_rank=rank, world_size=2, num_devices=2, fit_loop=loop)
        return data

    return assign


@pytest.fixture
def folder(tmp_path, picture):
    """Ten images of 12x10 in two classes."""
    for i in range(10):
        place = tmp_path / "images" / "ab"[i % 2]
        place.mkdir(parents=True, exist_ok=True)
        picture(i).save(place / f"{i}.png")
    return tmp_path / "images"


def block(folder, **more: Any) -> dict[str, Any]:
    paths = {"train_path": str(folder), "val_path": str(folder)}
    return {"dataset": "custom", "format": "resident"} | paths | more


def equal(a, b) -> bool:
    return (
        torch.equal(a[0], b[0])
        and all(torch.equal(v, w) for v, w in zip(a[1], b[1], strict=True))
        and torch.equal(a[2], b[2])
    )


def test_a_batch_is_indexes_views_targets(views_cfg) -> None:
    cfg = views_cfg(DIGITS, 16)
    cfg["augmentations"].append({"pipeline": "glyphs", "crop_size": 6, "num_crops": 1})
    data = build_pretrain(cfg)
    assert isinstance(data.decoder, Resident)
    indexes, views, targets = next(iter(data.train_dataloader()))
    assert indexes.shape == targets.shape == (16,)
    assert indexes.dtype == targets.dtype == torch.int64
    assert [v.shape for v in views] == [(16, 3, 8, 8), (16, 3, 8, 8), (16, 3, 6, 6)]
    assert {v.dtype for v in views} == {torch.float32}
    assert all(v.is_contiguous() and v.isfinite().all() for v in views)
    assert np.array_equal(targets, data.train_source.labels[indexes])
    assert not torch.equal(views[0], views[1])


def test_batches_are_those_of_the_pil_decoder(views_cfg) -> None:
    ours = build_pretrain(views_cfg(FEW, 16)).train_dataloader()
    theirs = build_pretrain(views_cfg(FEW | {"format": "image_folder"}, 16)).train_dataloader()
    for batches in (ours.batches, theirs.batches):
        batches.set_epoch(2)
    assert len(ours) == len(theirs)
    for a, b in zip(ours, theirs, strict=True):
        assert torch.equal(a[0], b[0])
        assert torch.equal(a[2], b[2])
        assert [v.shape for v in a[1]] == [v.shape for v in b[1]]


def test_without_augmentation_views_are_the_images(views_cfg) -> None:
    off = {"rrc": {"enabled": False}} | {
        key: {"prob": 0.0}
        for key in (
            "color_jitter",
            "grayscale",
            "gaussian_blur",
            "solarization",
            "equalization",
            "horizontal_flip",
        )
    }
    loaders = [
        build_pretrain(views_cfg(FEW | {"format": form}, 16, crop_size=8, **off)).train_dataloader()
        for form in ("resident", "image_folder")
    ]
    for a, b in zip(*loaders, strict=True):
        assert torch.allclose(a[1][0], b[1][0], atol=1e-5)


def test_three_epochs_of_two_ranks_hold_every_image_once(views_cfg, as_rank) -> None:
    for epoch in range(3):
        seen: Counter[int] = Counter()
        for rank in (0, 1):
            data = as_rank(build_pretrain(views_cfg(FEW, 10)), rank, epoch)
            for indexes, _, targets in data.train_dataloader():
                seen.update(indexes.tolist())
                assert np.array_equal(targets, data.train_source.labels[indexes])
        assert len(seen) == 140  # of 144: the last incomplete batch is dropped
        assert set(seen.values()) == {1}


def test_a_loader_goes_on_with_the_very_next_batch(views_cfg, as_rank) -> None:
    whole = list(as_rank(build_pretrain(views_cfg(FEW, 10)), 1, 1).train_dataloader())
    rest = list(as_rank(build_pretrain(views_cfg(FEW, 10)), 1, 1, done=3).train_dataloader())
    assert len(whole) == 7
    assert len(rest) == 4
    assert all(equal(a, b) for a, b in zip(whole[3:], rest, strict=True))


def test_batches_made_together_are_the_same_wherever_one_starts(views_cfg, monkeypatch) -> None:
    data = build_pretrain(views_cfg(FEW, 10))
    whole = list(data.train_dataloader())
    together = data.train_dataloader()
    monkeypatch.setattr(Augmented, "at_once", lambda self, batch_size: 4)
    for start in (0, 1, 3, 4, 13):
        together.batches.set_epoch(0, start)
        rest = list(together)
        assert len(rest) == 14 - start
        for (i, views, y), (j, others, v) in zip(whole[start:], rest, strict=True):
            assert torch.equal(i, j)
            assert torch.equal(y, v)
            assert all(torch.allclose(a, b, atol=1e-5) for a, b in zip(views, others, strict=True))


def test_a_gpu_makes_small_batches_together(views_cfg) -> None:
    data = build_pretrain(views_cfg(FEW, 16))
    dataset = data.train_dataloader().dataset
    assert dataset.at_once(16) == 1
    dataset.stack.device = torch.device("cuda", 0)
    assert dataset.at_once(16) == 2048 // 32


def test_loading_leaves_the_global_generators_alone(views_cfg) -> None:
    for data in (build_pretrain(views_cfg(FEW, 16)), build_classification(views_cfg(FEW, 16))):
        state = torch.get_rng_state()
        next(iter(data.train_dataloader()))
        next(iter(data.val_dataloader()))
        assert torch.equal(torch.get_rng_state(), state)


@pytest.mark.parametrize("size", [8, 11])
@pytest.mark.parametrize("build", [build_pretrain, build_classification])
def test_unaugmented_images_are_pillows_bit_for_bit(build, size, views_cfg) -> None:
    ours, theirs = (
        build(views_cfg(FEW | {"format": form}, 100, crop_size=size))
        for form in ("resident", "image_folder")
    )
    pairs = [(ours.val_dataloader(), theirs.val_dataloader())]
    pairs += zip(ours.features_dataloaders(), theirs.features_dataloaders(), strict=True)
    for a, b in pairs:
        for (x, y), (u, v) in zip(a, b, strict=True):
            assert torch.equal(x, u)
            assert torch.equal(y, v)


def test_center_crops_are_pillows_bit_for_bit(folder, views_cfg) -> None:
    ours, theirs = (
        build_pretrain(views_cfg(block(folder, format=form), 10, crop_size=7))
        for form in ("resident", "image_folder")
    )
    ((x, y),), ((u, v),) = ours.val_dataloader(), theirs.val_dataloader()
    assert torch.equal(x, u)
    assert torch.equal(y, v)


@pytest.mark.parametrize("resize", [8, 9, None])
def test_a_probes_test_images_are_pillows_bit_for_bit(resize, views_cfg) -> None:
    image = {"crop_size": 8, "interpolation": "bicubic"} | ({"resize": resize} if resize else {})
    ours, theirs = (
        build_classification(views_cfg(DIGITS | {"format": form, "augmentations": image}, 64))
        for form in ("resident", "image_folder")
    )
    for (x, y), (u, v) in zip(ours.val_dataloader(), theirs.val_dataloader(), strict=True):
        assert torch.equal(x, u)
        assert torch.equal(y, v)
    assert ("CenterCrop" in str(theirs.task.still.transform)) is (resize is not None)


def test_a_probe_trains_on_the_pil_decoders_crops(views_cfg) -> None:
    data = build_classification(views_cfg(DIGITS, 128))
    assert data.task.labelled
    x, y = next(iter(data.train_dataloader()))
    assert (x.shape, y.shape) == ((128, 3, 8, 8), (128,))
    theirs = build_classification(views_cfg(DIGITS | {"format": "image_folder"}, 128))
    u, v = next(iter(theirs.train_dataloader()))
    assert torch.equal(y, v)
    assert float(x.mean() - u.mean()) == pytest.approx(0, abs=0.03)
    assert float(x.std() / u.std()) == pytest.approx(1, abs=0.03)


def test_validation_is_shared_among_ranks(views_cfg, as_rank) -> None:
    ranks = [as_rank(build_pretrain(views_cfg(FEW, 10)), rank) for rank in (0, 1)]
    labels = [torch.cat([y for _, y in data.val_dataloader()]) for data in ranks]
    whole = torch.from_numpy(ranks[0].val_source.labels)
    assert torch.equal(labels[0], whole[0::2])
    assert torch.equal(labels[1], whole[1::2])


@pytest.mark.parametrize("workers", [0, 2])
def test_stored_images_are_decoded_once(folder, views_cfg, workers, monkeypatch) -> None:
    monkeypatch.setattr("mixmask_solo.data.decoders.resident.stack._AT_ONCE", 1)
    data = build_pretrain(views_cfg(block(folder, num_workers=workers), 2))
    first = list(data.train_dataloader())
    shutil.rmtree(folder)
    again = list(data.train_dataloader())
    assert all(equal(a, b) for a, b in zip(first, again, strict=True))
    stack = data.decoder.stack(data, data.train_source)
    assert stack.planes.shape == (3, 10, 10, 12)
    assert stack.present.all()


def test_parquet_is_found_by_what_lies_there(tmp_path, shard, views_cfg) -> None:
    shard(tmp_path / "train-0.parquet", [0, 1] * 4)
    cfg = views_cfg({"dataset": "custom", "format": "resident", "train_path": str(tmp_path)})
    _, views, targets = next(iter(build_pretrain(cfg).train_dataloader()))
    assert len(views[0]) == len(targets) == 4


def test_an_image_of_another_size_is_named(folder, picture, views_cfg) -> None:
    picture(3, size=(9, 10)).save(folder / "b" / "odd.png")
    data = build_pretrain(views_cfg(block(folder)))
    with pytest.raises(ConfigError, match=r"one size: \S*odd\.png is 9x10, \S*0\.png 12x10; set"):
        data.train_dataloader()


def damage(folder) -> None:
    (folder / "a" / "4.png").write_bytes(b"damaged")
    (folder / "b" / "7.png").write_bytes(b"damaged")


@pytest.mark.parametrize("workers", [0, 2])
def test_a_damaged_image_is_named(folder, views_cfg, workers, monkeypatch) -> None:
    monkeypatch.setattr("mixmask_solo.data.decoders.resident.stack._AT_ONCE", 1)
    damage(folder)
    data = build_pretrain(views_cfg(block(folder, num_workers=workers)))
    with pytest.raises(ImageError, match=r"a/4\.png cannot be decoded"):
        data.train_dataloader()


def test_skip_trains_on_others_and_leaves_out_of_validation(folder, views_cfg) -> None:
    damage(folder)
    data = build_pretrain(views_cfg(block(folder, on_error="skip"), 10))
    theirs = build_pretrain(views_cfg(block(folder, on_error="skip", format="image_folder"), 10))
    (a,), (b,) = data.train_dataloader(), theirs.train_dataloader()
    assert torch.equal(a[0], b[0])  # the same substitutes
    assert torch.equal(a[2], b[2])
    names = [data.train_source.name(int(i)) for i in a[0]]
    assert not any(name.endswith(("4.png", "7.png")) for name in names)
    ((x, _),), ((u, _),) = data.val_dataloader(), theirs.val_dataloader()
    assert x.shape == u.shape == (8, 3, 8, 8)
    assert torch.equal(x, u)
    assert len(data.tolerance.damaged()) == 2


def test_blank_keeps_the_place_and_the_label(folder, views_cfg) -> None:
    damage(folder)
    data = build_pretrain(views_cfg(block(folder, on_error="blank"), 10))
    ((indexes, _, targets),) = data.train_dataloader()
    assert sorted(indexes.tolist()) == list(range(10))
    assert np.array_equal(targets, data.train_source.labels[indexes])
    ((x, _),) = data.val_dataloader()
    flat = x.flatten(2).std(dim=2).amax(dim=1) == 0
    assert int(flat.sum()) == 2
    assert x[flat].abs().max() < 0.02  # the mean colour, normalised


def test_too_many_damaged_images(folder, views_cfg) -> None:
    damage(folder)
    data = build_pretrain(views_cfg(block(folder, on_error="skip", max_errors=1), 2))
    with pytest.raises(ImageError, match=r"more than 1 images cannot be read"):
        data.train_dataloader()


def test_none_can_be_read(folder, views_cfg) -> None:
    for file in folder.glob("*/*.png"):
        file.write_bytes(b"damaged")
    data = build_pretrain(views_cfg(block(folder, on_error="skip"), 2))
    with pytest.raises(ImageError, match="none of the 10 images can be read"):
        data.train_dataloader()


def test_too_little_memory_is_one_line(views_cfg, monkeypatch) -> None:
    monkeypatch.setattr(memory, "free_memory", lambda device: 300_000)
    data = build_pretrain(views_cfg(DIGITS))
    message = (
        r"data\.format is resident, but 1,442 images of 8x8 do not fit into half of the free "
        r"memory: 270 KiB are needed and 293 KiB free on cpu\. Set data\.format=dali"
    )
    with pytest.raises(ConfigError, match=message):
        data.train_dataloader()


def test_each_process_needs_memory_of_its_own(views_cfg, monkeypatch, as_rank) -> None:
    monkeypatch.setattr(memory, "free_memory", lambda device: 700_000)
    build_pretrain(views_cfg(DIGITS)).train_dataloader()
    with pytest.raises(ConfigError, match="2 times 270 KiB are needed"):
        as_rank(build_pretrain(views_cfg(DIGITS)), 0).train_dataloader()


@pytest.mark.parametrize("place", ["disk", 3])
def test_unknown_homes_are_refused(views_cfg, place) -> None:
    with pytest.raises(ConfigError, match=r"data\.resident_on is"):
        build_pretrain(views_cfg(DIGITS | {"resident_on": place}))


def test_pipelines_for_single_images_are_refused(views_cfg, monkeypatch) -> None:
    from mixmask_solo.data.augmentations import ViewOptions, pipeline

    monkeypatch.setitem(pipeline._PIPELINES, "mine", (ViewOptions, lambda options: []))
    cfg = views_cfg(DIGITS)
    cfg["augmentations"].append({"pipeline": "mine", "crop_size": 8})
    message = r"augmentations\[1\]\.pipeline is 'mine', which data\.format=resident cannot make"
    with pytest.raises(ConfigError, match=message):
        build_pretrain(cfg)


def test_images_without_labels(tmp_path, picture, views_cfg) -> None:
    for i in range(5):
        picture(i).save(tmp_path / f"{i}.png")
    cfg = {"dataset": "custom", "train_path": str(tmp_path), "no_labels": True}
    data = build_pretrain(views_cfg(cfg | {"format": "resident"}))
    _, _, targets = next(iter(data.train_dataloader()))
    assert targets.tolist() == [-1] * 4
    assert data.val_dataloader() == []


def test_grey_images_become_three_channels(tmp_path, picture, views_cfg) -> None:
    for i in range(4):
        (tmp_path / "a").mkdir(exist_ok=True)
        picture(i, mode="L").save(tmp_path / "a" / f"{i}.png")
    data = build_pretrain(views_cfg(block(tmp_path)))
    planes = data.decoder.stack(data, data.opened).planes
    assert torch.equal(planes[0], planes[1])
    stored = np.asarray(Image.open(tmp_path / "a" / "2.png"))
    assert np.array_equal(planes[2, 2].numpy(), stored)

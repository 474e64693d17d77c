# SPDX-License-Identifier: MIT
"""A checkpoint with a flipped bit or a missing end is refused, whoever wrote it."""

from __future__ import annotations

from pathlib import Path

import pytest
import torch

from mixmask_solo.config import ConfigError
from mixmask_solo.records.checkpoints import (
    META,
    AtomicCheckpointIO,
    checksum,
    defect,
    is_sealed,
    read_checkpoint,
    seal,
)

STATE = {"state_dict": {"w": torch.arange(4096.0), "b": torch.ones(3)}}


@pytest.fixture
def ours(tmp_path: Path) -> Path:
    path = tmp_path / "last.ckpt"
    AtomicCheckpointIO().save_checkpoint({**STATE, META: {"sealed": True}}, path)
    return path


@pytest.mark.parametrize("archive", [True, False])
def test_a_file_that_was_saved_anew_is_whole(ours: Path, archive: bool) -> None:
    content = torch.load(ours, weights_only=True)
    torch.save(content, ours, _use_new_zipfile_serialization=archive)
    assert not is_sealed(ours)
    assert torch.equal(read_checkpoint(ours)["state_dict"]["w"], STATE["state_dict"]["w"])


def test_a_file_whose_seal_is_cut_is_damaged(ours: Path) -> None:
    whole = ours.read_bytes()
    for lost in range(1, 23):
        ours.write_bytes(whole[:-lost])
        with pytest.raises(ConfigError, match="damaged"):
            read_checkpoint(ours)


def test_a_sealed_file_is_what_torch_and_we_read(ours: Path) -> None:
    assert is_sealed(ours)
    assert defect(ours) == ""
    for content in (torch.load(ours, weights_only=True), read_checkpoint(ours)):
        assert torch.equal(content["state_dict"]["w"], STATE["state_dict"]["w"])
    assert [p.name for p in ours.parent.iterdir()] == [ours.name]


def test_sealing_does_not_change_the_checksum(tmp_path: Path) -> None:
    path = tmp_path / "x.ckpt"
    torch.save(STATE, path)
    before = checksum(path)
    seal(path)
    assert checksum(path) == before
    seal(path)  # sealed already
    assert defect(path) == ""


def test_every_flipped_bit_is_refused(ours: Path) -> None:
    whole = ours.read_bytes()
    edges = [*range(64), *range(len(whole) - 64, len(whole))]
    places = [*edges, *range(64, len(whole) - 64, len(whole) // 200)]
    for place in places:
        flipped = bytearray(whole)
        flipped[place] ^= 1 << (place % 8)
        ours.write_bytes(flipped)
        with pytest.raises(ConfigError, match=r"last\.ckpt' (is damaged|cannot be read)"):
            read_checkpoint(ours)


@pytest.mark.parametrize("cut", [1, 2, 22, 36, 500, 10_000])
def test_every_missing_end_is_refused(cut: int, ours: Path) -> None:
    ours.write_bytes(ours.read_bytes()[:-cut])
    for plain in (False, True):
        with pytest.raises(ConfigError, match=r"last\.ckpt' (is damaged|cannot be read)"):
            read_checkpoint(ours, plain_weights=plain)


def test_a_file_of_others_is_checked_by_its_own_checksums(tmp_path: Path) -> None:
    path = tmp_path / "other.ckpt"
    torch.save(STATE, path)
    content = bytearray(path.read_bytes())
    assert read_checkpoint(path)["state_dict"].keys() == {"w", "b"}
    place = content.index(torch.arange(4096.0).numpy().tobytes()[400:440])
    content[place] ^= 1
    path.write_bytes(content)
    with pytest.raises(ConfigError, match=r"checksum of .*/data/0 does not fit"):
        read_checkpoint(path)


def test_the_format_before_zip_has_no_checksums_and_is_read(tmp_path: Path) -> None:
    path = tmp_path / "old.ckpt"
    torch.save(STATE, path, _use_new_zipfile_serialization=False)
    seal(path)
    assert not is_sealed(path)
    assert torch.equal(read_checkpoint(path)["state_dict"]["w"], STATE["state_dict"]["w"])


def test_what_cannot_be_written_leaves_the_last_good_file(ours: Path) -> None:
    before = ours.read_bytes()
    (ours.parent / "folder").mkdir()
    with pytest.raises(OSError, match=r"folder'$") as error:  # a folder stands in the way
        AtomicCheckpointIO().save_checkpoint(STATE, ours.parent / "folder")
    assert error.value.filename == str(ours.parent / "folder")
    with pytest.raises(FileNotFoundError, match=r"gone/last\.ckpt"):
        AtomicCheckpointIO().save_checkpoint(STATE, ours.parent / "gone" / "last.ckpt")
    assert ours.read_bytes() == before
    assert not list(ours.parent.glob(".*"))

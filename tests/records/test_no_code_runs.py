# SPDX-License-Identifier: MIT
"""Checkpoints made to run code when they are read: they do not."""

from __future__ import annotations

import collections
import io
import os
import pickle
import tarfile
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch
from torch import Tensor, nn

from mixmask_solo.config import ConfigError
from mixmask_solo.records.checkpoints import read_checkpoint

W = torch.arange(6.0)


def read(path: Path) -> dict[str, Tensor]:
    state: dict[str, Tensor] = read_checkpoint(path, plain_weights=True)["state_dict"]
    return state


class Call:
    """Pickles as a call of ``function``."""

    def __init__(self, function: Callable[..., Any], *args: Any) -> None:
        self.call = function, args

    def __reduce__(self) -> Any:
        return self.call


ATTACKS: dict[str, Callable[[str], Any]] = {
    "system": lambda path: Call(os.system, f"touch {path}"),
    "mkdir": lambda path: Call(os.mkdir, path),
    "eval": lambda path: Call(eval, f"open({path!r}, 'w')"),
    "exec": lambda path: Call(exec, f"open({path!r}, 'w')"),
    "open": lambda path: Call(open, path, "w"),
    "call of a result": lambda path: Call(getattr, Call(__import__, "os"), "system"),
    "nested load": lambda path: Call(
        torch.storage._load_from_bytes, pickle.dumps(Call(os.mkdir, path))
    ),
    "attribute of a class": lambda path: Call(setattr, dict, "x", Call(os.mkdir, path)),
}


@pytest.mark.parametrize("zipped", [True, False])
@pytest.mark.parametrize("attack", list(ATTACKS))
def test_no_code_of_a_file_is_run(attack: str, zipped: bool, tmp_path: Path) -> None:
    created = tmp_path / "boom"
    bomb = ATTACKS[attack](str(created))
    path = tmp_path / "evil.ckpt"
    content = {"state_dict": {"a": W}, "x": bomb}
    torch.save(content, path, _use_new_zipfile_serialization=zipped)
    assert torch.equal(read(path)["a"], W)
    assert not created.exists()
    with pytest.raises(ConfigError, match=r"evil\.ckpt' cannot be read"):
        read_checkpoint(path)
    assert not created.exists()


class Legacy(pickle.Pickler):
    """Writes what is an ``Id`` as a persistent id, as PyTorch's old format does with classes."""

    def persistent_id(self, obj: Any) -> Any:
        return obj.saved if isinstance(obj, Id) else None


class Id:
    def __init__(self, *saved: Any) -> None:
        self.saved = saved


def old_file(path: Path, content: Any) -> Path:
    with path.open("wb") as file:
        for header in (torch.serialization.MAGIC_NUMBER, torch.serialization.PROTOCOL_VERSION, {}):
            pickle.dump(header, file, protocol=2)
        Legacy(file, protocol=2).dump(content)
        pickle.dump([], file, protocol=2)
    return path


def test_a_class_with_its_source_writes_no_patch(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """``torch.load`` compares an old file's source with ours and would write the difference."""
    monkeypatch.chdir(tmp_path)
    container: Any = collections.OrderedDict()
    container.__dict__.update(__wrapped__=nn.Linear, dump_patches=True, __name__="boom")
    content = [container, Id("module", container, "source.py", "their source")]
    with pytest.raises(ConfigError, match=r"old\.pth'"):
        read(old_file(tmp_path / "old.pth", content))
    assert [p.name for p in tmp_path.iterdir()] == ["old.pth"]


@pytest.mark.filterwarnings("error:'torch.load' received")
@pytest.mark.parametrize("plain_weights", [True, False])
def test_archives_that_torch_would_hand_to_others(plain_weights: bool, tmp_path: Path) -> None:
    script = tmp_path / "script.pt"
    torch.jit.save(torch.jit.script(nn.Linear(2, 2)), script)
    with pytest.raises(ConfigError, match=r"script\.pt'.*TorchScript.*state_dict"):
        read_checkpoint(script, plain_weights=plain_weights)
    tar = tmp_path / "old.tar"
    with tarfile.open(tar, "w") as file:
        file.addfile(tarfile.TarInfo("storages"), io.BytesIO())
    with pytest.raises(ConfigError, match=r"old\.tar'.*tar archive"):
        read_checkpoint(tar, plain_weights=plain_weights)

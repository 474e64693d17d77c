# SPDX-License-Identifier: MIT
"""Files that hold more than tensors: the tensors are read, nothing in the file is run."""

from __future__ import annotations

import argparse
import collections
import os
import pathlib
import pickle
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
import torchvision
from omegaconf import OmegaConf
from torch import Tensor, nn

from mixmask_solo.config import ConfigError
from mixmask_solo.records.checkpoints import read_checkpoint

W = torch.arange(6.0).reshape(2, 3)


class Custom:
    """A class that a reader need not have."""

    def __init__(self) -> None:
        self.inner = {"w": W}


class Settings(dict[str, Any]):
    """A mapping class, as configuration libraries have."""


def save(path: Path, content: Any, zipped: bool = True) -> Path:
    torch.save(content, path, _use_new_zipfile_serialization=zipped)
    return path


def read(path: Path) -> dict[str, Tensor]:
    state: dict[str, Tensor] = read_checkpoint(path, plain_weights=True)["state_dict"]
    return state


BESIDE: dict[str, Any] = {
    "namespace": argparse.Namespace(lr=0.1, layers=[1, 2], path=pathlib.Path("a/b")),
    "numpy scalar": np.float64(0.5),
    "numpy array": np.arange(4),
    "numpy object array": np.array([Custom()], dtype=object),
    "omegaconf": OmegaConf.create({"a": {"b": [1, "x"]}, "c": "${a.b}"}),
    "path": pathlib.PurePosixPath("a/b"),
    "custom": Custom(),
    "custom as a key": {pathlib.PurePosixPath("a"): 1},
    "set": {1, 2},
    "default dict": collections.defaultdict(list, a=[1]),
    "settings": Settings(a=1),
    "function": os.getcwd,
    "class": nn.Linear,
}


@pytest.mark.parametrize("zipped", [True, False])
@pytest.mark.parametrize("what", list(BESIDE))
def test_weights_beside_anything(what: str, zipped: bool, tmp_path: Path) -> None:
    network = nn.Sequential(nn.Linear(3, 2), nn.BatchNorm1d(2))
    content = {"args": BESIDE[what], "state_dict": network.state_dict(), "more": [BESIDE[what]]}
    state = read(save(tmp_path / "x.pth.tar", content, zipped))
    expected = network.state_dict()
    assert state.keys() == expected.keys()
    assert all(torch.equal(state[k], t) for k, t in expected.items())


@pytest.mark.parametrize("zipped", [True, False])
def test_tensors_of_every_kind(zipped: bool, tmp_path: Path) -> None:
    base = torch.arange(12.0).reshape(3, 4)
    tagged = torch.ones(2)
    tagged.note = "x"  # type: ignore[attr-defined]
    marked = nn.Parameter(torch.full((2,), 3.0))
    marked.note = "x"  # type: ignore[attr-defined]
    given = {
        "parameter": nn.Parameter(W.clone()),
        "view": base[1:, ::2],
        "transposed": base.T,
        "half": W.half(),
        "bfloat16": W.bfloat16(),
        "whole": torch.arange(3),
        "scalar": torch.tensor(7),
        "empty": torch.empty(0, 3),
        "with an attribute": tagged,
        "parameter with an attribute": marked,
    }
    content = {"args": argparse.Namespace(), "state_dict": given}
    state = read(save(tmp_path / "x.pth", content, zipped))
    assert state.keys() == given.keys()
    for name, tensor in given.items():
        assert torch.equal(state[name], tensor.detach()), name
        assert state[name].dtype == tensor.dtype
        assert not state[name].requires_grad


@pytest.mark.parametrize("zipped", [True, False])
def test_weights_in_a_mapping_class(zipped: bool, tmp_path: Path) -> None:
    content = Settings(epoch=1, state_dict=Settings(a=W))
    assert torch.equal(read(save(tmp_path / "x.pth", content, zipped))["a"], W)


@pytest.mark.parametrize("zipped", [True, False])
@pytest.mark.parametrize("under", ["", "model", "state_dict", "net"])
def test_a_whole_module_is_refused_by_its_class(under: str, zipped: bool, tmp_path: Path) -> None:
    module = torchvision.models.resnet18()
    content = {"args": argparse.Namespace(), under: module} if under else module
    path = save(tmp_path / "x.pth", content, zipped)
    with pytest.raises(
        ConfigError, match=r"torchvision\.models\.resnet\.ResNet.*save model\.state_dict\(\)"
    ) as error:
        read(path)
    assert "\n" not in str(error.value)
    assert (f"'{under}'" in str(error.value)) == bool(under)


def test_a_weight_that_is_no_plain_tensor_is_named(tmp_path: Path) -> None:
    quantised = torch.quantize_per_tensor(W, 0.1, 0, torch.qint8)
    path = save(tmp_path / "x.pth", {"a": Custom(), "state_dict": {"w": quantised, "b": W}})
    with pytest.raises(ConfigError, match=r"w as torch\._utils\._rebuild_qtensor"):
        read(path)


@pytest.mark.parametrize("zipped", [True, False])
@pytest.mark.parametrize(
    ("content", "name"),
    [
        ({"state_dict": {"a": W}, "args": argparse.Namespace()}, r"argparse\.Namespace"),
        ({"state_dict": {"a": W}, "x": pathlib.PurePosixPath("a")}, r"pathlib\.PurePosixPath"),
        (nn.Sequential(nn.ReLU()), r"torch\.nn\.modules\.container\.Sequential"),
    ],
)
def test_resuming_stays_strict_and_names_the_class(
    content: Any, name: str, zipped: bool, tmp_path: Path
) -> None:
    path = save(tmp_path / "x.ckpt", content, zipped)
    with pytest.raises(ConfigError, match=rf"x\.ckpt' cannot be read.*{name}") as error:
        read_checkpoint(path)
    assert "\n" not in str(error.value)


@pytest.mark.parametrize("content", [b"", b"PK\x03\x04 torn", b"\x80\x02}q\x00.", b"text"])
def test_other_files(content: bytes, tmp_path: Path) -> None:
    (tmp_path / "x.pth").write_bytes(content)
    with pytest.raises(ConfigError, match=r"x\.pth' (cannot be read|is damaged)"):
        read(tmp_path / "x.pth")


def test_a_pickle_of_detectron2_names_its_kind(tmp_path: Path) -> None:
    (tmp_path / "x.pkl").write_bytes(pickle.dumps({"model": {}, "__author__": "a"}))
    with pytest.raises(ConfigError, match="damaged or Detectron2's; use the checkpoint that it"):
        read_checkpoint(tmp_path / "x.pkl", plain_weights=True)


def test_many_keys_of_a_file_without_weights_are_counted(tmp_path: Path) -> None:
    torch.save({f"k{i}": [i] for i in range(100)}, tmp_path / "x.pth")
    with pytest.raises(ConfigError, match=r"it has the keys k0, .*, k7 and 92 more$"):
        read_checkpoint(tmp_path / "x.pth", plain_weights=True)


def test_a_torn_file(tmp_path: Path) -> None:
    whole = save(tmp_path / "x.pth", {"args": Custom(), "state_dict": {"a": W}}, False)
    whole.write_bytes(whole.read_bytes()[:-20])
    with pytest.raises(ConfigError, match=r"x\.pth' cannot be read"):
        read(whole)


def test_a_file_without_weights_says_what_it_has(tmp_path: Path) -> None:
    path = save(tmp_path / "x.pth", {"epoch": 3, "args": Custom()})
    with pytest.raises(ConfigError, match=r"x\.pth' holds no weights.*keys epoch and args"):
        read(path)

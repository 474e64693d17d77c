# SPDX-License-Identifier: MIT
"""mixmask-knn as a user types it, right and wrong."""

from __future__ import annotations

import argparse
import io
import json
import sys
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq
import pytest
import timm
import torch
from PIL import Image

from mixmask_solo.cli import knn


@pytest.fixture(scope="module")
def run(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A run whose method has no projector here, as solo-learn leaves it behind."""
    folder = tmp_path_factory.mktemp("run")
    torch.manual_seed(0)
    state = timm.create_model("resnet10t", num_classes=0).state_dict()
    torch.save({"state_dict": {f"backbone.{k}": v for k, v in state.items()}}, folder / "a.ckpt")
    config = {
        "method": "barlow_twins",
        "backbone": {"name": "resnet10t", "kwargs": {}},
        "data": {"dataset": "digits", "num_workers": 0, "num_large_crops": 2},
        "augmentations": [{"crop_size": 16, "num_crops": 2}],
    }
    (folder / "args.json").write_text(json.dumps(config))
    return folder


def test_the_folder_of_a_run_is_enough(run: Path, command: Any) -> None:
    done = command("knn", "--pretrained_checkpoint_dir", str(run), "--baselines")
    assert done.returncode == 0, done.stderr
    assert "Traceback" not in done.stderr
    head, *rows, last = done.stdout.strip().splitlines()
    assert head.split()[:3] == ["network", "features", "distance"]
    assert [row.split()[0] for row in rows] == ["trained", "untrained", "pixels"]
    assert last.startswith("k-NN ")
    assert "untrained" in last
    result = json.loads((run / "knn.json").read_text())
    assert f"{result['trained']:.2f} %" in last
    assert result["rows"][0]["k"] == 20


def test_the_momentum_network_of_a_foreign_file(tmp_path: Path, command: Any) -> None:
    """DINO's code saves both networks, and the arguments of its command line as an object."""
    torch.manual_seed(1)
    content: dict[str, object] = {"args": argparse.Namespace(arch="x"), "epoch": 1}
    for name in ("student", "teacher"):
        state = timm.create_model("resnet10t", num_classes=0).state_dict()
        content[name] = {f"module.backbone.{k}": v for k, v in state.items()}
    torch.save(content, tmp_path / "checkpoint.pth")
    done = command(
        *("knn", "--evaluate", "momentum"),
        *("--pretrained_checkpoint", str(tmp_path / "checkpoint.pth")),
        *("--backbone", "resnet10t", "--dataset", "digits", "--num_workers", "0"),
    )
    assert done.returncode == 0, done.stderr
    assert "(momentum network, backbone" in done.stdout.strip().splitlines()[-1]
    assert json.loads((tmp_path / "knn.json").read_text())["evaluate"] == "momentum"


def call(monkeypatch: pytest.MonkeyPatch, *arguments: str) -> None:
    monkeypatch.setattr(sys, "argv", ["mixmask-knn", *arguments])
    knn.main()


def test_solo_learns_flags_make_a_grid(
    run: Path,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    flags = "--k 1 5 5 --temperature 0.07 0.1 --distance_function cosine euclidean"
    shared = "--dataset digits --num_workers 0 --batch_size 512 --feature_type backbone"
    out = tmp_path / "deep" / "knn.json"
    call(
        monkeypatch,
        *("--pretrained_checkpoint", str(run / "a.ckpt"), "--out", str(out)),
        *flags.split(),
        *shared.split(),
    )
    rows = json.loads(out.read_text())["rows"]
    found = [(r["distance"], r["k"], r["temperature"]) for r in rows]
    cosine = [("cosine", k, t) for k in (1, 5) for t in (0.07, 0.1)]
    assert found == [*cosine, ("euclidean", 1, None), ("euclidean", 5, None)]
    assert len(capsys.readouterr().out.strip().splitlines()) == 1 + 6 + 1


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ("", "one of the arguments --pretrained_checkpoint_dir --pretrained_checkpoint"),
        ("--pretrained_checkpoint_dir lost", "checkpoint 'lost' does not exist"),
        ("--pretrained_checkpoint_dir {run} --feature_typ x", "did you mean --feature_type?"),
        ("--pretrained_checkpoint_dir {run} --k 0", "'0' is no whole number of at least 1"),
        ("--pretrained_checkpoint_dir {run} --temperature -1", "argument --temperature"),
        ("--pretrained_checkpoint_dir {run} --distance_function l2", "choose from"),
        ("--pretrained_checkpoint_dir {run} --dataset cifr10", "did you mean cifar10?"),
        ("--pretrained_checkpoint_dir {run} --dataset cifar10", "--train_data_path is missing"),
        ("--pretrained_checkpoint_dir {run} --data_format dalli", "--data_format is 'dalli'"),
        ("--pretrained_checkpoint_dir {run} --feature_type projector", "choose backbone"),
        ("--pretrained_checkpoint_dir {run} --backbone resnet18", "holds a resnet10t"),
        ("--pretrained_checkpoint_dir {run} --evaluate teacher", "choose from"),
        ("--pretrained_checkpoint_dir {run} --evaluate momentum", "set --evaluate=online"),
        ("--pretrained_checkpoint_dir {run} --device quantum", "--device is 'quantum'"),
        ("--pretrained_checkpoint {run}/args.json", "cannot be read"),
        ("--pretrained_checkpoint_dir {empty}", "holds no *.ckpt"),
    ],
)
def test_wrong_input_is_one_line_and_status_2(
    arguments: str,
    message: str,
    run: Path,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    with pytest.raises(SystemExit) as stop:
        call(monkeypatch, *arguments.format(run=run, empty=tmp_path).split())
    assert stop.value.code == 2
    printed = capsys.readouterr()
    [line] = printed.err.strip().splitlines()
    assert line.startswith("mixmask-knn: ")
    assert message in line
    assert not printed.out


def test_the_columns_of_a_table_can_be_named(
    run: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    for split, colours in (("train", [0, 1, 0, 1, 2]), ("val", [2, 1, 0, 0, 1])):
        images = []
        for shade in colours:
            buffer = io.BytesIO()
            Image.new("RGB", (16, 16), (120 * shade, 0, 90)).save(buffer, "PNG")
            images.append(buffer.getvalue())
        columns = {"a": images, "b": [b"no image"] * 5, "shape": [0, 0, 1, 1, 1], "colour": colours}
        pq.write_table(pa.table(columns), tmp_path / f"{split}.parquet")
    paths = [f"--{split}_data_path={tmp_path / split}.parquet" for split in ("train", "val")]
    flags = "--dataset parquet --num_workers 0 --batch_size 5 --k 1 --device cpu"
    shared = [f"--pretrained_checkpoint_dir={run}", *flags.split(), *paths]
    for given, message in (
        ([], "each of which may hold the images: say which with --image_column"),
        (["--image_column", "a"], "may hold the labels: say which with --label_column"),
        (["--image_column", "a", "--label_column", "hue"], "--label_column is 'hue'"),
    ):
        with pytest.raises(SystemExit) as stop:
            call(monkeypatch, *shared, *given)
        assert stop.value.code == 2
        assert message in capsys.readouterr().err
    out = tmp_path / "knn.json"
    columns_named = ["--image_column", "a", "--label_column", "colour"]
    call(monkeypatch, *shared, *columns_named, "--out", str(out))
    assert json.loads(out.read_text())["trained"] == 100.0

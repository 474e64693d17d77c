# SPDX-License-Identifier: MIT
"""The command ``mixmask-data``."""

from __future__ import annotations

import json
import subprocess
import sys

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from PIL import Image

from mixmask_solo.cli import data


@pytest.fixture
def command(monkeypatch, capsys):
    def run(*arguments):
        monkeypatch.setattr(sys, "argv", ["mixmask-data", *map(str, arguments)])
        with pytest.raises(SystemExit) as stop:
            data.main()
        out, err = capsys.readouterr()
        return stop.value.code, out, err

    return run


@pytest.fixture
def folder(tmp_path):
    rng = np.random.default_rng(0)
    for name in "ab":
        (tmp_path / "images" / name).mkdir(parents=True)
        for i in range(3):
            pixels = rng.integers(0, 256, (12, 12, 3), dtype=np.uint8)
            Image.fromarray(pixels).save(tmp_path / "images" / name / f"{i}.png")
    return tmp_path / "images"


def test_check_tells_by_its_status_whether_all_is_well(command, folder, tmp_path):
    status, out, _ = command("check", folder, "--workers", 0)
    assert status == 0
    assert "train: 6 images of 2 classes, 3 each" in out
    assert out.endswith("all 6 images can be read\n")
    (folder / "a" / "1.png").write_bytes(b"torn")
    status, out, _ = command("check", folder, "--workers", 0, "--json", tmp_path / "found.json")
    assert status == 1
    assert "damaged: " in out
    assert out.endswith("1 of 6 images cannot be read\n")
    [found] = json.loads((tmp_path / "found.json").read_text()).values()
    assert found["splits"]["train"]["damaged"][0]["name"] == str(folder / "a" / "1.png")


def test_check_of_a_configuration(command):
    status, out, _ = command(
        "check", "--config-path", "scripts/pretrain/digits", "--config-name", "simclr"
    )
    assert status == 0
    assert "train: 1,442 images of 10 classes" in out


def test_libraries_load_where_ctrl_c_ends_the_process_at_once(tmp_path):
    code = """
import sys
from contextlib import contextmanager
from mixmask_solo.cli import data

@contextmanager
def loading(command):
    before = "torch" in sys.modules
    yield
    print(command, before, "torch" in sys.modules)

data.loading = loading
data.main()
"""
    (tmp_path / "empty").mkdir()
    arguments = ("convert", tmp_path / "empty", tmp_path / "out", "--to", "parquet")
    done = subprocess.run([sys.executable, "-c", code, *arguments], capture_output=True, text=True)
    assert done.stdout == "mixmask-data convert False True\n"


def test_convert_and_check_again(command, folder, tmp_path):
    status, out, _ = command("convert", folder, tmp_path / "out", "--to", "webdataset")
    assert (status, out) == (0, f"6 images -> {tmp_path / 'out'} (1 files written)\n")
    assert command("check", tmp_path / "out", "--workers", 0)[0] == 0
    again = command("convert", folder, tmp_path / "out", "--to", "webdataset")
    assert "6 images were there already" in again[1]


def test_names_of_classes_that_are_no_utf8_are_one_line(command, folder, tmp_path):
    command("convert", folder, tmp_path / "out", "--to", "webdataset")
    (tmp_path / "out" / "classes.txt").write_bytes(b"caf\xe9\n")
    status, _, err = command("check", tmp_path / "out", "--workers", 0)
    assert status == 2
    said = "is no UTF-8 text: byte 0xe9 at offset 3; save it in UTF-8"
    assert err == f"mixmask-data check: {tmp_path / 'out' / 'classes.txt'} {said}\n"


def test_a_stray_archive_is_told_apart_by_an_option(command, folder, tmp_path):
    (folder / "backup.tar").write_bytes(b"")
    (folder / "a" / "._0.png").write_bytes(b"")
    status, _, err = command("check", folder, "--workers", 0)
    assert status == 2
    assert "'backup.tar' beside 'a', which of them is the data set? Set --storage" in err
    status, out, _ = command("check", folder, "--workers", 0, "--storage", "image_folder")
    assert status == 0
    assert "note: files passed over: .tar 1, hidden files 1" in out
    to = ("--to", "parquet", "--storage", "image_folder")
    assert command("convert", folder, tmp_path / "out", *to)[0] == 0


def test_bench_says_whether_the_network_waits(command, tmp_path):
    status, out, _ = command(
        *("bench", "--config-path", "scripts/pretrain/digits", "--config-name", "simclr"),
        *("--decoders", "pil", "--seconds", 0.05, "--repeats", 1, "--need", 1e9),
        *("--json", tmp_path / "bench.json", "data.num_workers=0"),
    )
    assert status == 0
    assert "the network would wait" in out.splitlines()[-1]
    found = json.loads((tmp_path / "bench.json").read_text())
    assert found["decoders"][0]["images_per_second"] > 0
    assert found["need"] == 1e9


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (("check",), "check: give either PATH or --config-path"),
        (("check", "/nowhere"), "check: the path is '/nowhere': no such file or folder"),
        (("check", ".", "--storage", "tar"), "check: --storage is 'tar': choose auto"),
        (("convert", "/nowhere", "x", "--to", "tar"), "convert: the path is '/nowhere'"),
        (("convert", "x"), "convert: the following arguments are required"),
        (("convert", "x", "y", "--to", "tar", "--max-shard-mb", "0"), "'0' is no whole number"),
        (("chek",), "invalid choice: 'chek'"),
    ],
)
def test_one_line_says_what_is_wrong(command, arguments, message):
    status, _, err = command(*arguments)
    assert status == 2
    assert message in err
    assert err.count("\n") == 1


@pytest.mark.parametrize("first", [("check",), ("convert", "--to", "parquet")])
def test_columns_that_nobody_can_choose_can_be_named_here(command, shard_of, tmp_path, first):
    end = ("out",) if first[0] == "convert" else ()
    verb, *options = first
    status, _, err = command(verb, shard_of, *end, *options)
    assert status == 2
    assert "say which with --label-column, or set --no-labels if none does" in err
    status, _, err = command(verb, shard_of, *end, *options, "--label-column", "hue")
    assert status == 2
    assert "--label-column is 'hue': " in err
    end = (tmp_path / "out",) if end else ()
    status, out, _ = command(verb, shard_of, *end, *options, "--label-column", "colour")
    assert status == 0
    if end:
        status, out, _ = command("check", *end)
    assert "3 images of 2 classes" in out


@pytest.fixture
def shard_of(folder, tmp_path):
    images = [(folder / "a" / f"{i}.png").read_bytes() for i in range(3)]
    columns = {"image": images, "shape": [0, 0, 1], "colour": [1, 0, 1]}
    pq.write_table(pa.table(columns), tmp_path / "a.parquet")
    return tmp_path / "a.parquet"

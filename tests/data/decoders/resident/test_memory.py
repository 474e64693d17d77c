# SPDX-License-Identifier: MIT
"""What is free on a machine, in a container or on a GPU, and where a data set is then kept."""

from __future__ import annotations

from pathlib import Path

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from mixmask_solo.config import ConfigError
from mixmask_solo.data.decoders.resident import memory

CPU = torch.device("cpu")
V1 = "sys/fs/cgroup/memory/memory"


def machine(root: Path, **files: str) -> Path:
    """A root folder with these files."""
    for name, text in files.items():
        path = root / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(text)
    return root


def test_the_tightest_of_machine_and_control_groups_counts(tmp_path: Path) -> None:
    """In the first version of control groups; no limit there is a number beyond every memory."""
    files = {
        "proc/meminfo": "MemFree: 1 kB\nMemAvailable: 700 kB\n",
        f"{V1}.limit_in_bytes": "900000",
        f"{V1}.usage_in_bytes": "400000",
        f"{V1}.stat": "inactive_file 1\ntotal_inactive_file 100000\n",
    }
    assert memory.free_memory(CPU, machine(tmp_path, **files)) == 900_000 - 400_000 + 100_000
    machine(tmp_path, **{f"{V1}.limit_in_bytes": str(2**63 - 4096)})
    assert memory.free_memory(CPU, tmp_path) == 700 * 1024


def test_this_machine_tells_what_it_has() -> None:
    free = memory.free_memory(CPU)
    if free is not None:  # only Linux does
        assert 2**20 < free < 2**50
    assert memory.free_memory(torch.device("meta")) is None


def test_what_is_not_told_is_no_obstacle() -> None:
    """Of other devices nobody knows; then it is tried."""
    assert memory.choose_home(2**60, "images", torch.device("meta"), "device").type == "meta"


def test_half_of_what_is_free_may_be_taken_by_all_processes_together(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(memory, "free_memory", lambda device: 1200)
    assert memory.choose_home(600, "images", CPU, "host") == CPU
    assert memory.choose_home(200, "images", CPU, "auto", processes=3) == CPU
    with pytest.raises(ConfigError, match="3 times 201 bytes are needed and 1 KiB free on cpu"):
        memory.choose_home(201, "images", CPU, "auto", processes=3)
    # a GPU is one process's own
    cuda = torch.device("cuda", 0)
    assert memory.choose_home(600, "images", cuda, "auto", processes=3) == cuda
    line = (
        r"^data\.format is resident, but 9 images do not fit into half of the free memory: "
        r"601 bytes are needed and 1 KiB free on cuda:0; "
        r"3 times 601 bytes are needed and 1 KiB free on cpu\. Set data\.format=dali"
    )
    with pytest.raises(ConfigError, match=line):
        memory.choose_home(601, "9 images", cuda, "auto", processes=3)


@pytest.mark.parametrize(
    ("size", "words"),
    [
        (0, "0 bytes"),
        (1023, "1023 bytes"),
        (1024, "1 KiB"),
        (1024**2 - 1024, "1023 KiB"),
        (5 * 1024**2, "5 MiB"),
        (1024**3, "1.0 GiB"),
        (2200 * 1024**3, "2200.0 GiB"),
    ],
)
def test_bytes_in_words(size: int, words: str) -> None:
    assert memory.in_words(size) == words


@given(st.integers(0, 2**45))
def test_words_are_close_to_the_size(size: int) -> None:
    number, unit = memory.in_words(size).split()
    scale = {"bytes": 1, "KiB": 2**10, "MiB": 2**20, "GiB": 2**30}[unit]
    assert abs(float(number) * scale - size) <= (0.05 if unit == "GiB" else 0.5) * scale


def test_a_full_device_leaves_the_images_to_the_host(monkeypatch) -> None:
    cuda, cpu = torch.device("cuda", 0), torch.device("cpu")
    free = {"cuda": 100, "cpu": 10_000}
    monkeypatch.setattr(memory, "free_memory", lambda device: free[device.type])
    assert memory.choose_home(40, "images", cuda, "auto") == cuda
    assert memory.choose_home(60, "images", cuda, "auto") == cpu
    assert memory.choose_home(40, "images", cuda, "host") == cpu
    with pytest.raises(ConfigError, match="60 bytes are needed and 100 bytes free on cuda:0"):
        memory.choose_home(60, "images", cuda, "device")


def test_free_memory_of_a_control_group(tmp_path) -> None:
    cpu = torch.device("cpu")
    assert memory.free_memory(cpu, tmp_path) is None
    (tmp_path / "proc").mkdir()
    (tmp_path / "proc/meminfo").write_text("MemTotal: 900 kB\nMemAvailable: 800 kB\n")
    assert memory.free_memory(cpu, tmp_path) == 800 * 1024
    group = tmp_path / "sys/fs/cgroup"
    group.mkdir(parents=True)
    (group / "memory.max").write_text("max\n")
    assert memory.free_memory(cpu, tmp_path) == 800 * 1024
    for name, text in (
        ("memory.max", "500000"),
        ("memory.current", "300000"),
        ("memory.stat", "anon 1\ninactive_file 50000\n"),
    ):
        (group / name).write_text(text)
    assert memory.free_memory(cpu, tmp_path) == 250_000

# SPDX-License-Identifier: MIT
"""Keys of a job: files of users, arguments on top, and what is wrong with them in one line."""

from __future__ import annotations

from pathlib import Path

import pytest

from mixmask_solo.config import ConfigError
from mixmask_solo.jobs.options import SlurmOptions, read_options, read_overrides

EXAMPLES = sorted((Path(__file__).parents[2] / "scripts" / "slurm").glob("*.yaml"))


def test_arguments_come_on_top_of_a_file(tmp_path: Path) -> None:
    file = tmp_path / "site.yaml"
    file.write_text("partition: gpu\ntime: 24:00:00\ngpus_per_node: 4\ndirectives: {a: 1}\n")
    options = read_options(file, ["partition=big", "directives.b=true", "setup=[module load x]"])
    assert (options.partition, options.gpus_per_node) == ("big", 4)
    assert options.directives == {"a": 1, "b": True}
    assert options.setup == ["module load x"]
    again = read_overrides(options, ["gpus_per_node=0", "time=5"])
    assert (again.partition, again.gpus_per_node, again.time) == ("big", 0, "5")
    assert options.gpus_per_node == 4


@pytest.mark.parametrize(
    ("text", "time"),
    [
        ("24:00:00", "24:00:00"),  # a number in base 60 to YAML 1.1
        ("10:30", "10:30"),
        ("90", "90"),
        ("2-12", "2-12"),
        ("2-12:00:00", "2-12:00:00"),
        ("null", None),
    ],
)
def test_times_are_slurms(text: str, time: str | None, tmp_path: Path) -> None:
    file = tmp_path / "site.yaml"
    file.write_text(f"time: {text}\n")
    assert read_options(file, []).time == time
    assert read_options(None, [f"time={text}"]).time == time


def test_nothing_of_a_site_is_a_default() -> None:
    options = read_options(None, [])
    assert options == SlurmOptions()
    for key in ("partition", "account", "qos", "constraint", "time", "mem_gb", "mail_user"):
        assert getattr(options, key) is None


@pytest.mark.parametrize("file", EXAMPLES, ids=lambda file: file.stem)
def test_examples_are_read(file: Path) -> None:
    assert read_options(file, []) != SlurmOptions()


def test_there_are_examples() -> None:
    assert len(EXAMPLES) == 6


@pytest.mark.parametrize(
    ("overrides", "message"),
    [
        (["partitoin=gpu"], "unknown key partitoin (did you mean partition?)"),
        (["nodes=0"], "nodes is 0: give a whole number, at least 1"),
        (["nodes=two"], "nodes is 'two': give a whole number, at least 1"),
        (["gpus_per_node=-1"], "gpus_per_node is -1: give a whole number, at least 0"),
        (["time=tomorrow"], "time is 'tomorrow': give minutes, hours:minutes:seconds or "),
        (["time=1:2:3:4"], "time is '1:2:3:4': give minutes"),
        (["mem_gb=0"], "mem_gb is 0"),
        (["cpus_per_task=1.5"], "cpus_per_task is 1.5: give a whole number, at least 1"),
        (["gpu_request=gpu"], "gpu_request is 'gpu': choose gpus-per-node or gres"),
        (["time=2"], "time is '2', but signal_lead is 120 seconds: a run would be told to stop"),
        (["time=0:30", "signal_lead=30"], "time is '0:30', but signal_lead is 30 seconds"),
        (["directives={1: 2}"], "directives has the key 1: give names of sbatch's options"),
        (["gpus_per_node=4", "tasks_per_node=2"], "tasks_per_node is 2, but gpus_per_node is 4"),
        (["setup=module load"], "setup is 'module load': give a list, each item text"),
        (["directives=exclusive"], "directives is 'exclusive': give a block of keys"),
        (["signal_lead=1"], "signal_lead is 1: give a whole number, at least 10"),
        (["max_requeues=-1"], "max_requeues is -1: give a whole number, at least 0"),
        (["requeue_lost=yes please"], "requeue_lost is 'yes please': give true or false"),
        (
            ["array_parallelism=0"],
            "array_parallelism is 0: give a whole number",
        ),
        (["partition"], "'partition' is no key=value; the command to submit comes after --"),
        (["setup=[a"], "setup=[a is no YAML"),
    ],
)
def test_wrong_keys_are_one_line(overrides: list[str], message: str) -> None:
    with pytest.raises(ConfigError) as caught:
        read_options(None, overrides)
    assert message in str(caught.value)
    assert "\n" not in str(caught.value)


def test_wrong_files_are_one_line(tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match=r"--slurm .*none.yaml: No such file"):
        read_options(tmp_path / "none.yaml", [])
    file = tmp_path / "site.yaml"
    file.write_text("- partition\n")
    with pytest.raises(ConfigError, match="is no block of keys"):
        read_options(file, [])
    file.write_bytes(b"partition: \xff\n")
    with pytest.raises(ConfigError, match=r"site.yaml is no UTF-8 text"):
        read_options(file, [])
    file.write_text("partition: [\n")
    with pytest.raises(ConfigError, match=r"site.yaml is no YAML"):
        read_options(file, [])

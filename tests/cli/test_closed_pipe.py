# SPDX-License-Identifier: MIT
"""A reader that leaves, as ``| head`` does, is no error of any command's."""

from __future__ import annotations

import subprocess
import sys

import pytest


@pytest.mark.parametrize(
    ("module", "arguments"),
    [
        ("pretrain", ["--help"]),
        ("solo", ["--help"]),
        ("tables", ["list"]),
        ("tables", ["plan", "table5", "--datasets", "cifar100"]),
    ],
)
def test_a_reader_that_leaves(module: str, arguments: list[str]) -> None:
    code = f"from mixmask_solo.cli.{module} import main; main()"
    process = subprocess.Popen(
        [sys.executable, "-c", code, *arguments],
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    )
    assert process.stdout
    assert process.stderr
    process.stdout.close()
    assert process.stderr.read() == ""
    assert process.wait() == 141

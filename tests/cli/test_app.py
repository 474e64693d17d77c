# SPDX-License-Identifier: MIT
"""What the Hydra commands share."""

from __future__ import annotations

from pathlib import Path

import pytest

from mixmask_solo.cli.app import told_metrics, with_absolute_folders
from mixmask_solo.config import ConfigError


def test_folders_are_those_of_where_the_user_stands(tmp_path: Path, monkeypatch) -> None:
    monkeypatch.chdir(tmp_path)
    (tmp_path / "files").mkdir()
    given = ["--config-path", "files", "-cd=files", "--config-name", "files", "-cp", "pkg://x"]
    here = str(tmp_path / "files")
    expected = ["--config-path", here, f"-cd={here}", "--config-name", "files", "-cp", "pkg://x"]
    assert list(with_absolute_folders(given)) == expected
    with pytest.raises(ConfigError, match=r"--config-path lost: no such folder \(looked for /"):
        list(with_absolute_folders(["-cp", "lost"]))


def test_a_metric_of_an_earlier_epoch_says_so() -> None:
    result = {"metrics": {"a": 1.0}, "earlier_metrics": {"b": {"value": 2.0, "epoch": 3}}}
    wanted = [("a", "A", "{:.1f} %"), ("b", "B", "{:g}"), ("c", "C", "{}")]
    assert told_metrics(result, wanted) == ["A 1.0 %", "B 2 (epoch 4)"]

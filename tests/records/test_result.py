# SPDX-License-Identifier: MIT
"""The machine that a record names is the one that was used."""

from __future__ import annotations

import pytest
import torch

from mixmask_solo.records.result import versions


def test_a_run_on_the_cpu_of_a_machine_with_a_gpu(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(torch.cuda, "is_available", lambda: True)
    monkeypatch.setattr(torch.cuda, "get_device_name", lambda device: f"NVIDIA {device}")
    assert "NVIDIA" not in versions(torch.device("cpu"))["device"]
    assert versions(torch.device("cuda", 1))["device"] == "NVIDIA cuda:1"
    assert versions(torch.device("mps"))["device"] == "mps"

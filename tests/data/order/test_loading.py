# SPDX-License-Identifier: MIT
from __future__ import annotations

import pytest
import torch

from mixmask_solo.config import ConfigError
from mixmask_solo.data.order import loading
from mixmask_solo.data.order.loading import worker_count


def test_auto_leaves_the_cores_to_training_on_the_cpu(monkeypatch):
    monkeypatch.setattr(loading, "core_share", lambda processes: max(1, 16 // processes))
    monkeypatch.setattr(torch.cuda, "is_available", lambda: False)
    assert (worker_count("auto"), worker_count(None, 2)) == (4, 2)
    monkeypatch.setattr(torch.cuda, "is_available", lambda: True)
    assert (worker_count("auto"), worker_count("auto", 4), worker_count("auto", 32)) == (16, 4, 1)


def test_a_number_is_taken_as_it_is():
    assert (worker_count(0), worker_count(3)) == (0, 3)


@pytest.mark.parametrize("setting", [-1, "many", 1.5, True])
def test_other_settings_are_refused(setting):
    with pytest.raises(ConfigError, match=r"data\.num_workers is"):
        worker_count(setting)

# SPDX-License-Identifier: MIT
"""A localiser for all tests of the saliency block."""

from __future__ import annotations

from pathlib import Path

import pytest

from support.saliency import localizer_file


@pytest.fixture(scope="session")
def weights(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return localizer_file(tmp_path_factory.mktemp("localizer") / "weights.pth")

# SPDX-License-Identifier: MIT
from __future__ import annotations

import io
from collections.abc import Callable

import pytest
from PIL import Image


@pytest.fixture
def png(picture: Callable[..., Image.Image]) -> Callable[[int], bytes]:
    """``png(number)``: bytes of a PNG file of its own."""

    def make(number: int) -> bytes:
        buffer = io.BytesIO()
        picture(number).save(buffer, "PNG")
        return buffer.getvalue()

    return make

# SPDX-License-Identifier: MIT
from __future__ import annotations

from dataclasses import dataclass, field

import pytest
import torch
from PIL import ImageOps
from torchvision.transforms import functional as F

from mixmask_solo.config import ConfigError
from mixmask_solo.config.datasets import DATASETS
from mixmask_solo.config.schema.augmentations import Chance
from mixmask_solo.data.augmentations import ViewOptions, pipeline, register
from mixmask_solo.data.augmentations.pipeline import build_all, known

DIGITS = DATASETS["digits"]


@dataclass
class Options(ViewOptions):
    invert: Chance = field(default_factory=Chance)


@pytest.fixture
def mine(monkeypatch):
    monkeypatch.setattr(pipeline, "_PIPELINES", dict(pipeline._PIPELINES))

    @register("mine", Options)
    def steps(options):
        return [ImageOps.invert] if options.invert.prob else []

    return steps


def test_a_registered_pipeline_is_meant_by_its_name(mine, picture):
    image = picture(0)
    node = {"pipeline": "mine", "crop_size": 12, "num_crops": 3, "invert": {"prob": 1.0}}
    [pipeline] = build_all([node], DIGITS)
    inverted = F.normalize(1 - F.to_tensor(image), DIGITS.mean, DIGITS.std)
    assert torch.allclose(pipeline(image), inverted, atol=1e-5)
    assert pipeline.num_crops == 3


def test_a_name_is_given_once(mine):
    with pytest.raises(ValueError, match="'solo' is registered already"):
        register("solo", Options)


def test_an_unknown_name_lists_the_known_ones(mine):
    assert known() == ["glyphs", "mine", "solo"]
    with pytest.raises(
        ConfigError, match=r"augmentations\[1\]\.pipeline is 'glyph': choose glyphs"
    ):
        build_all([{"crop_size": 8}, {"pipeline": "glyph", "crop_size": 8}], DIGITS)

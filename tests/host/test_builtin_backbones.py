# SPDX-License-Identifier: MIT
"""Backbones by name and their stems."""

from __future__ import annotations

from typing import ClassVar

import pytest
import torch
import torchvision
from omegaconf import OmegaConf
from torch import nn

from mixmask_solo.host.builtin import build_backbone, features_dim
from mixmask_solo.host.solo_extras import OurKeys


def cfg(name="resnet18", dataset="imagenet", **backbone):
    block = {"name": name, "kwargs": {}, "stem": "auto", "stem_padding": 2, **backbone}
    return OmegaConf.create(
        {"backbone": block, "data": {"dataset": dataset}, "knn_eval": {"enabled": False}}
    )


@pytest.mark.parametrize(
    ("options", "kernel", "padding", "pool"),
    [
        ({"dataset": "imagenet"}, 7, 3, nn.MaxPool2d),
        ({"dataset": "cifar100"}, 3, 2, nn.Identity),
        ({"dataset": "digits"}, 3, 2, nn.Identity),
        ({"dataset": "cifar10", "stem": "imagenet"}, 7, 3, nn.MaxPool2d),
        ({"dataset": "custom", "stem": "cifar", "stem_padding": 1}, 3, 1, nn.Identity),
        ({"dataset": "custom", "stem": "cifar_pool", "stem_padding": 1}, 3, 1, nn.MaxPool2d),
    ],
)
def test_stems(options, kernel, padding, pool):
    backbone = build_backbone(cfg(**options))
    assert backbone.conv1.kernel_size == (kernel, kernel)
    assert backbone.conv1.padding == (padding, padding)
    assert backbone.conv1.bias is None
    assert isinstance(backbone.maxpool, pool)
    assert backbone(torch.zeros(2, 3, 32, 32)).shape == (2, 512)


@pytest.mark.parametrize(
    ("name", "kwargs", "dim"),
    [
        ("resnet50", {"zero_init_residual": True}, 2048),
        ("resnet10t", {}, 512),
        ("convnext_atto", {"drop_path_rate": 0.1}, 320),
        ("mobilenetv3_small_050", {}, 1024),  # features pass a head: longer than num_features
        ("resnet10t", {"in_chans": 1}, 512),
    ],
)
def test_features_dim_is_what_comes_out(name, kwargs, dim):
    backbone = build_backbone(cfg(name, "digits", kwargs=kwargs)).eval()
    channels = kwargs.get("in_chans", 3)
    assert features_dim(backbone) == dim
    assert backbone(torch.zeros(1, channels, 32, 32)).shape == (1, dim)


def test_a_deep_stem_is_left_alone_unless_asked_for():
    assert isinstance(build_backbone(cfg("resnet10t", "cifar10")).conv1, nn.Sequential)
    with pytest.raises(ValueError, match=r"backbone\.stem.*resnet10t"):
        build_backbone(cfg("resnet10t", stem="cifar"))


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"name": "resnet19"}, r"backbone\.name is 'resnet19'"),
        ({"name": "resnet19", "kwargs": {"a": 1}}, r"backbone\.name is 'resnet19'"),
        ({"stem": "tiny"}, r"backbone\.stem is 'tiny': choose one of auto"),
        (
            {"kwargs": {"norm": 1, "zero_init_residual": True}},
            r"backbone\.kwargs\.norm is 1: resnet18 takes no argument of that name",
        ),
        (
            {"name": "resnet10t", "kwargs": {"drop_pth_rate": 0.1}},
            r"backbone\.kwargs\.drop_pth_rate is 0\.1: resnet10t takes no argument",
        ),
        (
            {"kwargs": {"width_per_group": "wide"}},
            r"backbone\.kwargs is \{'width_per_group': 'wide'\}: resnet18 cannot be built .*Error",
        ),
    ],
)
def test_what_no_library_knows(options, message):
    with pytest.raises(ValueError, match=message):
        build_backbone(cfg(**options))


def test_without_arguments_a_failing_constructor_speaks_for_itself(monkeypatch):
    def broken(**kwargs):
        raise TypeError("a bug")

    monkeypatch.setattr(torchvision.models, "resnet18", broken)
    with pytest.raises(TypeError, match="a bug"):
        build_backbone(cfg())


def test_solo_learns_methods_name_the_argument_too():
    class Method:
        _BACKBONES: ClassVar = {"resnet18": torchvision.models.resnet18}

        def __init__(self, cfg):
            self.backbone = self._BACKBONES[cfg.backbone.name](**cfg.backbone.kwargs)

        @staticmethod
        def add_and_assert_specific_cfg(cfg):
            return cfg

    class Ours(OurKeys, Method):
        pass

    with pytest.raises(ValueError, match=r"backbone\.kwargs\.norm is 1: resnet18 takes no"):
        Ours(cfg(kwargs={"norm": 1}))
    with pytest.raises(TypeError, match="bool"):
        Ours(cfg(kwargs={"replace_stride_with_dilation": True}))

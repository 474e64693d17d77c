# SPDX-License-Identifier: MIT
"""The occluder against the same network written out layer by layer, at any size."""

from __future__ import annotations

import math

import pytest
import torch
import torch.nn.functional as F
from torch import Tensor

from mixmask_solo.networks import Occluder, default_depth

# Channels in and out of each block as in the code, for first width 1 and RGB images.
PUBLISHED = {
    4: ([3, 1, 2, 2], [1, 2, 2, 2], [4, 4, 4, 2], [2, 2, 1, 1]),
    5: ([3, 1, 1, 2, 2], [1, 1, 2, 2, 2], [4, 4, 4, 2, 2], [2, 2, 1, 1, 1]),
    6: ([3, 1, 1, 1, 2, 2], [1, 1, 1, 2, 2, 2], [4, 4, 4, 2, 2, 2], [2, 2, 1, 1, 1, 1]),
}
SIZES = {28: 3, 32: 4, 33: 4, 64: 5, 96: 5, 224: 6}


def by_hand(net: Occluder, x: Tensor, norm: str) -> Tensor:
    """Index arithmetic for the nearest neighbour, one map after the other."""

    def block(weights: dict[str, Tensor], x: Tensor) -> Tensor:
        x = F.conv2d(x, weights["0.weight"], weights.get("0.bias"), padding=1)
        if norm != "none":
            groups = 8 if norm == "group" else x.shape[1]
            parts = x.reshape(len(x), groups, -1)
            mean, var = parts.mean(2, keepdim=True), parts.var(2, keepdim=True, unbiased=False)
            x = ((parts - mean) / (var + 1e-5).sqrt()).reshape(x.shape)
            x = x * weights["1.weight"][:, None, None] + weights["1.bias"][:, None, None]
        return x.clamp(min=0)

    def nearest(x: Tensor, size: int) -> Tensor:
        old = x.shape[-1]
        places = torch.tensor([i * old // size for i in range(size)])
        return x[:, :, places][:, :, :, places]

    skips: list[Tensor] = []
    for down in net.down:
        x = nearest(x, x.shape[-1] // 2) if skips else x
        x = block(dict(down.named_parameters()), x)
        skips.append(x)
    flat = x.reshape(len(x), -1)
    for i in (1, 3, 5):
        linear = net.bottleneck[i]
        flat = (flat @ linear.weight.T + linear.bias).clamp(min=0)
    x = flat.reshape(x.shape)
    for up, skip in zip(net.up, skips[::-1], strict=True):
        joined = torch.cat([nearest(x, skip.shape[-1]), skip], dim=1)
        x = block(dict(up.named_parameters()), joined)
    weight, bias = net.slots.weight[:, :, 0, 0], net.slots.bias
    logits = torch.einsum("nchw,sc->nshw", x, weight) + bias[:, None, None]  # type: ignore[index]
    powers = torch.exp(logits - logits.max(1, keepdim=True).values)
    return powers / powers.sum(1, keepdim=True)


@pytest.mark.parametrize("norm", ["group", "instance", "none"])
@pytest.mark.parametrize(("size", "channels", "depth"), [(32, 3, None), (28, 1, None), (33, 3, 5)])
def test_layer_by_layer(size: int, channels: int, depth: int | None, norm: str) -> None:
    torch.manual_seed(0)
    net = Occluder(size, 3, width=8, norm=norm, depth=depth, channels=channels).double()
    x = torch.randn(2, channels, size, size).double()
    torch.testing.assert_close(net(x), by_hand(net, x, norm), rtol=1e-9, atol=1e-9)


@pytest.mark.parametrize(("size", "depth"), SIZES.items())
def test_masks_of_any_size_share_out_each_pixel(size: int, depth: int) -> None:
    assert default_depth(size) == depth == math.floor(math.log2(size) - 1)
    net = Occluder(size, 5, width=8)
    assert len(net.down) == len(net.up) == depth
    masks = net(torch.randn(1, 3, size, size))
    assert masks.shape == (1, 5, size, size)
    assert (masks >= 0).all()
    torch.testing.assert_close(masks.sum(1), torch.ones(1, size, size))


@pytest.mark.parametrize("depth", PUBLISHED)
def test_widths_are_the_published_ones(depth: int) -> None:
    net = Occluder(96, 4, width=8, depth=depth)
    down_in, down_out, up_in, up_out = PUBLISHED[depth]
    for blocks, inputs, outputs in ((net.down, down_in, down_out), (net.up, up_in, up_out)):
        found = [(b[0].in_channels, b[0].out_channels) for b in blocks]  # type: ignore[index]
        scaled = [(i if i == 3 else 8 * i, 8 * o) for i, o in zip(inputs, outputs, strict=True)]
        assert found == scaled
    assert [m.out_features for m in net.bottleneck if hasattr(m, "out_features")][:2] == [128, 128]


def test_no_name_is_taken_for_the_networks() -> None:
    names = [name for name, _ in Occluder(32, 4, width=8).named_parameters()]
    assert not [name for name in names if "backbone" in name or "encoder" in name]


def test_masks_are_float32_under_autocast() -> None:
    with torch.autocast("cpu", torch.bfloat16):
        masks = Occluder(32, 4, width=8)(torch.randn(2, 3, 32, 32))
    assert masks.dtype == torch.float32

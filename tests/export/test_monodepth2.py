# SPDX-License-Identifier: MIT
"""``encoder.pth`` as Monodepth2's loaders take it, by a module with its encoder's names."""

from __future__ import annotations

from pathlib import Path

import torch
import torchvision
from torch import Tensor, nn

from mixmask_solo.export.write import export
from support.exported import moco_file


class Encoder(nn.Module):
    """Names, input scaling and last feature map of ``networks/resnet_encoder.py``."""

    def __init__(self) -> None:
        super().__init__()
        self.encoder = torchvision.models.resnet18()

    def forward(self, images: Tensor) -> Tensor:
        net = self.encoder
        x = net.maxpool(net.relu(net.bn1(net.conv1((images - 0.45) / 0.225))))
        return net.layer4(net.layer3(net.layer2(net.layer1(x))))


def test_its_loading_leaves_nothing_over(tmp_path: Path) -> None:
    done = export(moco_file(tmp_path, "resnet18"), "monodepth2", size=64)
    assert [path.name for path in done.files] == ["encoder.pth", "encoder.pth.json"]
    content = torch.load(tmp_path / "encoder.pth", weights_only=True)
    sizes = {k: content.pop(k) for k in ("height", "width", "use_stereo")}
    assert sizes == {"height": 192, "width": 640, "use_stereo": False}
    model = Encoder()
    model.load_state_dict(content)  # strictly
    assert not model.encoder.fc.weight.any()
    images = torch.rand(2, 3, 64, 96, generator=torch.Generator().manual_seed(0))
    with torch.no_grad():
        found = model.eval()(images).mean((2, 3))
        wanted = done.source.backbone((images - 0.45) / 0.225)
    torch.testing.assert_close(found, wanted, rtol=0, atol=1e-5 * float(wanted.abs().max()))

# SPDX-License-Identifier: MIT
"""docs/transfer.md: its blocks load what the command writes, and make the network's features."""

from __future__ import annotations

from importlib.util import find_spec
from pathlib import Path
from typing import Any

import pytest
import torch

from docs.blocks import Block, blocks
from mixmask_solo.export import TARGETS
from mixmask_solo.export.source import Source
from mixmask_solo.export.write import export
from support.exported import run_file

ELSEWHERE = ("detectron2", "self.models")  # of libraries that are not installed, and a fragment
PAGE = list(blocks("python", pages=("docs/transfer.md",)))
FOLLOWED = [b for b in PAGE if not any(sign in b.text for sign in ELSEWHERE)]


@pytest.fixture(scope="module")
def place(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Source]:
    """The files that the blocks name, in one folder, and what each is of."""
    folder, made = tmp_path_factory.mktemp("files"), {}
    (folder / "small").mkdir()
    resnet = {"backbone": {"name": "resnet18", "stem": "imagenet"}}
    large = run_file(folder, "byol", augmentations=[{"crop_size": 224, "num_crops": 2}], **resnet)
    small = run_file(folder / "small", "byol", backbone={"name": "resnet18"})
    for target in ("torchvision", "timm", "safetensors", "solo", "onnx"):
        if target != "onnx" or (find_spec("onnxruntime") and find_spec("onnxscript")):
            done = export(large, target)
            made[str(done.files[0])] = done.source
    out = folder / "cifar.torchvision.pth"
    made[str(out)] = export(small, "torchvision", out=out).source
    return made


@pytest.mark.parametrize("block", FOLLOWED, ids=lambda block: block.place)
def test_a_block_makes_the_networks_features(
    block: Block, place: dict[str, Source], monkeypatch: pytest.MonkeyPatch
) -> None:
    if "onnxruntime" in block.text:
        pytest.importorskip("onnxruntime", reason="needs the extra onnx")
    [source] = [s for name, s in place.items() if f'"{Path(name).name}"' in block.text]
    monkeypatch.chdir(Path(next(iter(place))).parent)
    told: dict[str, Any] = {}
    exec(compile(block.text, block.place, "exec"), told)
    images, features = (torch.as_tensor(told[name]) for name in ("images", "features"))
    wanted = source.outputs(images)["feats"]
    assert wanted.shape == (8, 512)
    torch.testing.assert_close(features, wanted, rtol=0, atol=1e-5 * float(wanted.abs().max()))


def test_every_target_is_on_the_page() -> None:
    text = (Path(__file__).parents[2] / "docs" / "transfer.md").read_text()
    assert [name for name in TARGETS if f"| `{name}` |" not in text] == []
    assert len(FOLLOWED) == 6

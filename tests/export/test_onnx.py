# SPDX-License-Identifier: MIT
"""The graph by ONNX Runtime: any number of images, the filter inside or not, the head."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest
import torch

from mixmask_solo.config import ConfigError
from mixmask_solo.evaluation.network import load_network
from mixmask_solo.export.write import export
from mixmask_solo.records.pretrained import read_pretrained
from support.exported import run_file

MSCN = {"mscn": {"sigma": 2.0, "kernel": 5, "patch_size": 6}}
ort: Any = pytest.importorskip("onnxruntime", reason="needs the extra onnx")
pytest.importorskip("onnxscript", reason="needs the extra onnx")


@pytest.mark.slow  # the exporter takes some seconds for any network
@pytest.mark.parametrize("filtered", [True, False])
def test_the_graph_is_the_network(filtered: bool, tmp_path: Path) -> None:
    file = run_file(tmp_path, "simclr", MSCN)
    done = export(file, "onnx", "head", filtered=filtered)
    assert done.difference <= 1e-5
    session = ort.InferenceSession(str(done.files[0]))
    facts = json.loads(session.get_modelmeta().custom_metadata_map["mixmask"])
    assert facts["input_filter_in_graph"] == filtered
    images = torch.randn(7, 3, 24, 24, generator=torch.Generator().manual_seed(7))
    found = dict(zip(("feats", "z"), session.run(None, {"images": images.numpy()}), strict=True))
    whole: Any = load_network(read_pretrained(file), projector=True).eval()
    with torch.no_grad():
        wanted = whole(images) if filtered else done.source.outputs(images)
    for name, values in found.items():
        scale = float(wanted[name].abs().max())
        torch.testing.assert_close(
            torch.from_numpy(values), wanted[name], rtol=0, atol=1e-5 * scale
        )


def test_a_size_that_the_filter_does_not_take(tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match="size is 2: resnet10t, or its input filter, takes no"):
        export(run_file(tmp_path, "simclr", MSCN), "onnx", size=2)
    assert [path.name for path in tmp_path.iterdir()] == ["last.ckpt"]

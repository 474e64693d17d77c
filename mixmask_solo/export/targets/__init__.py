# SPDX-License-Identifier: MIT
"""Targets by name, one file each."""

from mixmask_solo.export.target import Target
from mixmask_solo.export.targets.detectron2 import Detectron2
from mixmask_solo.export.targets.monodepth2 import Monodepth2
from mixmask_solo.export.targets.onnx import Onnx
from mixmask_solo.export.targets.safetensors import Safetensors
from mixmask_solo.export.targets.solo import Solo
from mixmask_solo.export.targets.timm import Timm
from mixmask_solo.export.targets.torchvision import Torchvision

BY_NAME: dict[str, type[Target]] = {
    "torchvision": Torchvision,
    "timm": Timm,
    "detectron2": Detectron2,
    "monodepth2": Monodepth2,
    "solo": Solo,
    "safetensors": Safetensors,
    "onnx": Onnx,
}

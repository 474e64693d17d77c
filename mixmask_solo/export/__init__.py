# SPDX-License-Identifier: MIT
"""A pretrained network as other libraries read it: a file a target, compared with its source.

Every weight is written and none is made up, whatever is written is read back by the target's own
library where it is installed, and a file whose outputs differ from the network's is not kept.
"""

TARGETS = ("torchvision", "timm", "detectron2", "monodepth2", "solo", "safetensors", "onnx")
WHICH = ("online", "momentum", "head")

__all__ = ["TARGETS", "WHICH"]
